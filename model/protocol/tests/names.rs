//! Names as keys of hash tables.

use std::hash::{BuildHasher, RandomState};
use tenure_protocol::SessionId;

#[test]
fn a_keyed_table_separates_names_with_the_same_frozen_hash() {
    let one = SessionId::from_static("8yn0iYCKYHlIj4-BwPqk");
    let other = SessionId::from_static("GReLUrM4wMqfg9yzV3KQ");
    assert_eq!(one.frozen_hash(), other.frozen_hash());
    let keyed = RandomState::new();
    assert_ne!(keyed.hash_one(&one), keyed.hash_one(&other));
}
