//! The messages under way, in the channels of the model, with a number for each message.

/// A message under way: its number and its text.
pub(super) type Letter = (u64, String);

/// The channels; see the [module](self). The end of a connection stands among the messages to the store, as `None`.
#[derive(Debug)]
pub(super) struct Letters {
    up: Vec<Vec<Option<Letter>>>,
    down: Vec<Vec<Option<Letter>>>,
    numbers: u64,
}

impl Letters {
    pub(super) fn new(processes: usize) -> Self {
        Self {
            up: vec![Vec::new(); processes],
            down: vec![Vec::new(); processes],
            numbers: 0,
        }
    }

    /// Returns a new number for a message.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn push(&mut self, process: usize, is_up: bool, letter: Option<Letter>) {
        self.channel(process, is_up).push(letter);
    }

    pub(super) fn read(&mut self, process: usize, is_up: bool, place: usize) -> Option<Letter> {
        self.channel(process, is_up).get(place).cloned().flatten()
    }

    pub(super) fn take(&mut self, process: usize, is_up: bool, place: usize) -> Option<Letter> {
        let channel = self.channel(process, is_up);
        (place < channel.len())
            .then(|| channel.remove(place))
            .flatten()
    }

    fn channel(&mut self, process: usize, is_up: bool) -> &mut Vec<Option<Letter>> {
        if is_up {
            &mut self.up[process]
        } else {
            &mut self.down[process]
        }
    }
}
