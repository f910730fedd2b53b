//! Live progress on a terminal; nothing in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
pub(crate) use tenure_checker::book::thousands;
use tenure_checker::explore::Live;

/// A line that changes while something runs.
pub(crate) struct Line(ProgressBar);

impl Line {
    /// A line that begins with `what`; silent unless standard error is a terminal.
    pub(crate) fn new(what: &str) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("{spinner} {prefix}  {msg}").expect("a valid template"),
        );
        bar.set_prefix(what.to_owned());
        Self(bar)
    }

    /// How far an exploration is.
    pub(crate) fn show(&self, live: &Live) {
        self.0.set_message(format!(
            "{} states, {} unique, depth {}, {}/s, {} in the queue",
            thousands(live.states),
            thousands(live.unique_states),
            live.depth,
            thousands(live.rate as u64),
            thousands(live.queue),
        ));
        self.0.tick();
    }

    /// Any other news.
    pub(crate) fn say(&self, text: String) {
        self.0.set_message(text);
        self.0.tick();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_apart() {
        let shown = [0, 7, 1000, 123_456, 1_234_567].map(super::thousands);
        assert_eq!(shown, ["0", "7", "1,000", "123,456", "1,234,567"]);
    }
}
