//! How results and errors reach the user.
