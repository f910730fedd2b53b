//! Tests of the store over TCP, from the processes' point of view.

mod admin;
mod bytes;
mod clock;
mod crowd;
mod durable;
mod folder;
mod hostile;
mod players;
mod preloaded;
mod reads;
mod serve;
mod slow;
mod support;
mod timers;
