//! What tables make of names.

use std::hash::{BuildHasher, RandomState};
use tenure_protocol::SessionId;

#[test]
fn names_of_one_frozen_hash_are_told_apart_by_a_table_with_a_key() {
    let one = SessionId::from_static("8yn0iYCKYHlIj4-BwPqk");
    let other = SessionId::from_static("GReLUrM4wMqfg9yzV3KQ");
    assert_eq!(one.frozen_hash(), other.frozen_hash());
    let keyed = RandomState::new();
    assert_ne!(keyed.hash_one(&one), keyed.hash_one(&other));
}
