//! Typed access to attributes: values are stored as JSON.

use crate::sealed::Sealed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tenure_locks::{Error, Guard, GuardSet, OwnedGuard};
use tenure_protocol::AttributeName;

/// The reason why a typed read or write failed. The text names the attribute and the position, and never contains data
/// of the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The bytes of the attribute are not JSON, or the JSON does not match the requested type. Another version of the
    /// program may have written the bytes.
    #[error(
        "cannot read attribute {attribute} as {rust_type}: its bytes are not {what} of this type, \
         at line {line}, column {column}"
    )]
    Read {
        /// The name of the attribute.
        attribute: Box<AttributeName>,
        /// The form that the bytes do not have: `"JSON"` or `"a value"`.
        what: &'static str,
        /// The name of the requested type.
        rust_type: &'static str,
        /// The line in the value, from 1.
        line: usize,
        /// The byte in that line, from 1.
        column: usize,
    },
    /// The value has no JSON form: a map has keys that are not strings, or the serialization of the value failed.
    #[error(
        "cannot write a value of type {rust_type} to attribute {attribute}: it has no JSON form"
    )]
    Write {
        /// The name of the attribute.
        attribute: Box<AttributeName>,
        /// The name of the value's type.
        rust_type: &'static str,
    },
    /// The attribute could not be read or written at all.
    #[error(transparent)]
    Lock(#[from] Error),
}

/// Typed access to the attribute of a [`Guard`] or an [`OwnedGuard`].
pub trait Typed: Sealed {
    /// Returns the attribute's value, or `None` if the attribute does not exist.
    ///
    /// # Errors
    /// [`ValueError::Read`] when the bytes do not decode to this type.
    fn get<T: DeserializeOwned>(&self) -> Result<Option<T>, ValueError>;

    /// Replaces the attribute's value. On an error, the attribute is unchanged.
    ///
    /// # Errors
    /// [`ValueError::Write`] when the value has no JSON form. [`ValueError::Lock`] as [`Guard::set`].
    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError>;

    /// Reads the value, applies `change`, and writes the value back. If the attribute does not exist, `change` starts
    /// with the default of the type. On an error, the attribute is unchanged.
    ///
    /// # Errors
    /// As [`Typed::get`] and [`Typed::put`].
    fn update<T, R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Result<R, ValueError>
    where
        T: Serialize + DeserializeOwned + Default;
}

/// Typed access to the attributes of a [`GuardSet`].
pub trait TypedSet: Sealed {
    /// Returns the value of an attribute, or `None` if the attribute does not exist.
    ///
    /// # Errors
    /// [`ValueError::Read`] when the bytes do not decode to this type. [`ValueError::Lock`] as [`GuardSet::bytes`].
    fn get<T: DeserializeOwned>(&self, name: impl AsRef<[u8]>) -> Result<Option<T>, ValueError>;

    /// Replaces the value of an attribute. On an error, the attribute is unchanged.
    ///
    /// # Errors
    /// [`ValueError::Write`] when the value has no JSON form. [`ValueError::Lock`] as [`GuardSet::set`].
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: impl AsRef<[u8]>,
        value: &T,
    ) -> Result<(), ValueError>;
}

/// Implements [`Typed`] for a guard of one attribute, borrowed or owned.
macro_rules! typed {
    ($guard:ty) => {
        impl Typed for $guard {
            fn get<T: DeserializeOwned>(&self) -> Result<Option<T>, ValueError> {
                read(self.bytes(), || self.name().clone())
            }

            fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
                let bytes = write(value, || self.name().clone())?;
                Ok(self.set(bytes)?)
            }

            fn update<T, R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Result<R, ValueError>
            where
                T: Serialize + DeserializeOwned + Default,
            {
                let mut value: T = self.get()?.unwrap_or_default();
                let result = change(&mut value);
                self.put(&value)?;
                Ok(result)
            }
        }
    };
}

typed!(Guard<'_>);
typed!(OwnedGuard);

impl TypedSet for GuardSet {
    fn get<T: DeserializeOwned>(&self, name: impl AsRef<[u8]>) -> Result<Option<T>, ValueError> {
        let bytes = self.bytes(name.as_ref())?;
        read(bytes, || named(name.as_ref()))
    }

    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: impl AsRef<[u8]>,
        value: &T,
    ) -> Result<(), ValueError> {
        // Checked before the serialization, so that the error for a name without a lock comes first.
        self.bytes(name.as_ref())?;
        let bytes = write(value, || named(name.as_ref()))?;
        Ok(self.set(name, bytes)?)
    }
}

fn named(name: &[u8]) -> AttributeName {
    AttributeName::new(name.to_vec())
        .expect("`GuardSet::bytes` has found this name, so it is a valid attribute name")
}

fn read<T: DeserializeOwned>(
    bytes: Option<&[u8]>,
    name: impl FnOnce() -> AttributeName,
) -> Result<Option<T>, ValueError> {
    let value = bytes.map(serde_json::from_slice).transpose();
    // The text of the JSON error is not kept, because that text may quote the data.
    value.map_err(|error| ValueError::Read {
        attribute: Box::new(name()),
        what: match error.classify() {
            Category::Data => "a value",
            _ => "JSON",
        },
        rust_type: std::any::type_name::<T>(),
        line: error.line(),
        column: error.column(),
    })
}

fn write<T: Serialize + ?Sized>(
    value: &T,
    name: impl FnOnce() -> AttributeName,
) -> Result<Vec<u8>, ValueError> {
    serde_json::to_vec(value).map_err(|_| ValueError::Write {
        attribute: Box::new(name()),
        rust_type: std::any::type_name::<T>(),
    })
}
