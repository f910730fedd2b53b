//! Live progress on a terminal. Prints nothing into a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
pub(crate) use tenure_checker::book::thousands;
use tenure_checker::explore::Live;

/// A progress line that is updated in place.
pub(crate) struct Line(ProgressBar);

impl Line {
    /// Creates a line with the prefix `what`. Hidden unless standard error is a terminal.
    pub(crate) fn new(what: &str) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("{spinner} {prefix}  {msg}")
                .expect("this constant template is valid"),
        );
        bar.set_prefix(what.to_owned());
        Self(bar)
    }

    /// Shows the progress of an exploration.
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

    /// Shows any other text.
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
    fn thousands_are_separated_by_commas() {
        let shown = [0, 7, 1000, 123_456, 1_234_567].map(super::thousands);
        assert_eq!(shown, ["0", "7", "1,000", "123,456", "1,234,567"]);
    }
}
