//! ocelli-tests
