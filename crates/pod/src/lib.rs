//! The pod directory: states, locks and the files that stage0 and stage1 exchange.
