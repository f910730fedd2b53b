//! Tests that the schema in the book and the codec agree on every golden vector, as far as a schema can.

use crate::golden::file::{self, Invalid, Valid, hex};
use bytes::Buf;
use cddl_cat::context::BasicContext;
use cddl_cat::util::ValidateError;
use ciborium::Value;
use std::fs;
use std::path::Path;
use tenure_wire::{HEADER_BYTES, Header, kind};

fn schema() -> BasicContext {
    BasicContext::new(cddl_cat::flatten::flatten_from_str(&text()).expect("a schema"))
}

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/protocol/tenure.cddl");
    fs::read_to_string(path).expect("the schema")
}

/// Returns the name of a kind's schema rule: the kind's name in lower case with hyphens.
fn rule(kind: u8) -> Option<String> {
    let mut rule = String::new();
    for c in kind::name(kind)?.chars() {
        if c.is_uppercase() && !rule.is_empty() {
            rule.push('-');
        }
        rule.extend(c.to_lowercase());
    }
    Some(rule)
}

/// Replaces tags by arrays, because the validator does not support tags, and a tagged value differs from an untagged
/// one.
fn without_tags(value: Value) -> Result<Value, String> {
    Ok(match value {
        Value::Tag(tag, inner) => Value::Array(vec![tag.into(), without_tags(*inner)?]),
        Value::Array(list) => Value::Array(
            list.into_iter()
                .map(without_tags)
                .collect::<Result<_, _>>()?,
        ),
        Value::Map(map) => {
            let twice = |at: usize| map[..at].iter().any(|(key, _)| *key == map[at].0);
            if (0..map.len()).any(twice) {
                return Err("a key twice".to_owned());
            }
            let pair = |(key, value)| Ok((without_tags(key)?, without_tags(value)?));
            Value::Map(map.into_iter().map(pair).collect::<Result<_, String>>()?)
        }
        other => other,
    })
}

/// Returns the objection of an independent CBOR reader, or of the schema, to a body.
fn refusal(schema: &BasicContext, rule: &str, mut body: &[u8]) -> Result<(), String> {
    let value = ciborium::from_reader(&mut body).map_err(|error| error.to_string())?;
    let value = without_tags(value)?;
    if !body.is_empty() {
        return Err("trailing bytes".to_owned());
    }
    match cddl_cat::cbor::validate_cbor(&schema.rules[rule], &value, schema) {
        Err(error @ (ValidateError::Mismatch(_) | ValidateError::MapCut(_))) => {
            Err(error.to_string())
        }
        other => {
            other.expect("a schema that the validator understands");
            Ok(())
        }
    }
}

/// Returns all objections to the bodies in `bytes`.
fn refusals(schema: &BasicContext, mut bytes: &[u8]) -> Vec<String> {
    let mut refusals = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let header = Header::read(header);
        bytes.advance(HEADER_BYTES);
        let Some((body, rest)) = bytes.split_at_checked(header.length as usize) else {
            break;
        };
        bytes = rest;
        if let Some(rule) = rule(header.kind)
            && let Err(why) = refusal(schema, &rule, body)
        {
            refusals.push(format!("{rule}: {why}"));
        }
    }
    refusals
}

#[test]
fn the_schema_accepts_every_valid_vector() {
    let schema = schema();
    for vector in &file::read::<Valid>("valid.json").vectors {
        let found = refusals(&schema, &hex(&vector.hex));
        assert!(found.is_empty(), "{}: {found:?}", vector.name);
    }
}

#[test]
fn the_schema_refuses_the_invalid_vectors_that_a_schema_can_refuse() {
    let schema = schema();
    let mut wrong = Vec::new();
    for vector in &file::read::<Invalid>("invalid.json").vectors {
        let found = refusals(&schema, &hex(&vector.hex));
        if found.is_empty() == vector.schema_refuses {
            wrong.push(format!("{}: {found:?}", vector.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_schema_has_a_rule_for_every_kind() {
    let schema = schema();
    for &kind in kind::ALL {
        let rule = rule(kind).expect("a known kind");
        assert!(schema.rules.contains_key(&rule), "{rule}");
    }
}
