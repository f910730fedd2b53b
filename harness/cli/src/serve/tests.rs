//! The table of settings and the configuration are the same, by every way in.
