//! The stage1 ABI and what the three stage1 plugins share.
