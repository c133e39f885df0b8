//! Every raw system call and every unsafe block of rkt, behind safe functions.
