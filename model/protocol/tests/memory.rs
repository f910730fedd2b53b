//! A store that evicts every session it can: the cases in which it must admit a session again, which random schedules
//! seldom reach.

use crate::support::{Setup, World};

/// Plays a script between `p` and `q`. The world's forgetful store fails the test when its outputs differ.
fn play(script: &str) -> String {
    let mut setup = Setup::default();
    setup.store.time_to_live_ms = Some(60_000);
    let mut world = World::connected(setup, &["p", "q"]);
    world.log = Some(String::new());
    world.run(script);
    world.log.take().expect("just set")
}

/// Writes to a session and gives it back.
const FREE_R: &str = "q.1 lock r a
     settle
     q.1 write r a x
     q.1 unlock r a
     q release r
     settle
     ";

#[test]
fn a_rename_to_the_id_of_an_evicted_session_is_refused() {
    let script = "p.1 lock s *
         settle
         p.1 write s a y
         p.1 rename s r
         settle";
    let log = play(&format!("{FREE_R}{script}"));
    assert!(log.contains("s refused: id taken"), "{log}");
}

#[test]
fn an_evicted_session_still_ends_at_its_time_to_live() {
    let log = play(&format!("{FREE_R}wait 60001\n store tick"));
    assert!(log.contains("store  makes durable: r removed"), "{log}");
}
