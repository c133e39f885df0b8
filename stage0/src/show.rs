//! Texts for people: tables, times, sizes.
