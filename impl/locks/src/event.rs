//! What the manager wants of its driver, and tells it.

use crate::snapshot::Discard;
use tenure_protocol::{Link, Time, ToStore};

/// Something for the driver to do or to know, in this order.
#[derive(Clone, Debug)]
pub enum Event {
    /// Send this on the connection `link`: the process needs a grant (`Acquire`), wants writes durable (`Commit`), gives a
    /// grant back (`Release`), and so on. Dropped when that connection has gone.
    Send {
        /// On which connection.
        link: Link,
        /// What.
        message: ToStore,
    },
    /// Close this connection; open a new one unless the process has left.
    Disconnect {
        /// Which.
        link: Link,
    },
    /// A thread waits until then: [`Locks::tick`](crate::Locks::tick) is to be called by then.
    Until(Time),
    /// A write set was discarded.
    Discarded(Discard),
}
