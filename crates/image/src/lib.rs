//! Image store: import, verify, unpack, list and remove images.
