//! The outputs of the manager to its driver.

use crate::snapshot::Discard;
use tenure_protocol::{Link, Time, ToStore};

/// An output of the manager to its driver. The driver must handle the events in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message to send on the connection `link`: the process requests a grant (`Acquire`), makes writes durable
    /// (`Commit`), gives a grant back (`Release`), and so on. If that connection is closed, the driver drops the
    /// message.
    Send {
        /// The connection.
        link: Link,
        /// The message.
        message: ToStore,
    },
    /// A request to close this connection. The driver then opens a new one, unless the process has left.
    Disconnect {
        /// The connection.
        link: Link,
    },
    /// A new deadline: the driver must call [`Locks::tick`](crate::Locks::tick) no later than then.
    Until(Time),
    /// A report that a write set was discarded.
    Discarded(Discard),
}
