//! Attributes as values of one's own types, in JSON, on top of their bytes.

use crate::sealed::Sealed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tenure_locks::{Error, Guard, GuardSet, OwnedGuard};
use tenure_protocol::AttributeName;

/// Why a value was not read or written. Says where in which attribute, never what stands there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// What the attribute has is not JSON, or not that of the type that was asked for. Another version of the program may have
    /// written it.
    #[error(
        "attribute {attribute} is not {what} of type {rust_type}, at line {line}, column {column}"
    )]
    Read {
        /// Which attribute.
        attribute: Box<AttributeName>,
        /// What it is not: JSON, or a value.
        what: &'static str,
        /// The type that was asked for.
        rust_type: &'static str,
        /// In which line of the value, from 1.
        line: usize,
        /// At which byte of the line, from 1.
        column: usize,
    },
    /// The value cannot be said in JSON: a map whose keys are no strings, or its own serialization failed.
    #[error("a value of type {rust_type} for attribute {attribute} cannot be said in JSON")]
    Write {
        /// Which attribute.
        attribute: Box<AttributeName>,
        /// The type of the value.
        rust_type: &'static str,
    },
    /// The attribute could not be used at all.
    #[error(transparent)]
    Lock(#[from] Error),
}

/// Values of one's own types in a [`Guard`] or an [`OwnedGuard`].
pub trait Typed: Sealed {
    /// The attribute's value; `None` when it does not exist.
    ///
    /// # Errors
    /// [`ValueError::Read`] when there is something else.
    fn get<T: DeserializeOwned>(&self) -> Result<Option<T>, ValueError>;

    /// Replaces the value.
    ///
    /// # Errors
    /// [`ValueError::Write`] when it cannot be said in JSON, [`ValueError::Lock`] as [`Guard::set`]. It stays as it was.
    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError>;

    /// Changes the value, which begins as its type's default when it does not exist.
    ///
    /// # Errors
    /// As [`Typed::get`] and [`Typed::put`]. It stays as it was.
    fn update<T, R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Result<R, ValueError>
    where
        T: Serialize + DeserializeOwned + Default;
}

/// Values of one's own types in a [`GuardSet`].
pub trait TypedSet: Sealed {
    /// The value of an attribute; `None` when it does not exist.
    ///
    /// # Errors
    /// [`ValueError::Read`] when there is something else, [`ValueError::Lock`] as [`GuardSet::bytes`].
    fn get<T: DeserializeOwned>(&self, name: impl AsRef<[u8]>) -> Result<Option<T>, ValueError>;

    /// Replaces a value.
    ///
    /// # Errors
    /// [`ValueError::Write`] when it cannot be said in JSON, [`ValueError::Lock`] as [`GuardSet::set`]. It stays as it was.
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: impl AsRef<[u8]>,
        value: &T,
    ) -> Result<(), ValueError>;
}

/// One attribute's guard, borrowed or owned.
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
        // First, so that a name that is not locked is the error that is told.
        self.bytes(name.as_ref())?;
        let bytes = write(value, || named(name.as_ref()))?;
        Ok(self.set(name, bytes)?)
    }
}

fn named(name: &[u8]) -> AttributeName {
    AttributeName::new(name.to_vec()).expect("the guard has it")
}

fn read<T: DeserializeOwned>(
    bytes: Option<&[u8]>,
    name: impl FnOnce() -> AttributeName,
) -> Result<Option<T>, ValueError> {
    let value = bytes.map(serde_json::from_slice).transpose();
    // Its own words may quote the data.
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
