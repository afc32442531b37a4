//! SIGINT and SIGTERM: the first asks the training to save and stop, the second stops at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What signals have said.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Set by the first signal; the training looks at it after every step.
    pub stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on the signals are caught. Before it they end the process, as they do by default:
    /// until then there is nothing to save.
    ///
    /// # Errors
    /// The system refuses.
    pub fn catch() -> io::Result<Self> {
        let signals = Signals::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the shutdown sees the flag of an earlier signal only.
            flag::register_conditional_shutdown(signal, 128 + signal, signals.stop.clone())?;
            flag::register_usize(signal, signals.number.clone(), signal as usize)?;
            flag::register(signal, signals.stop.clone())?;
        }
        Ok(signals)
    }

    /// The signal that asked to stop, if one did.
    pub fn number(&self) -> Option<i32> {
        match self.number.load(Ordering::SeqCst) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }
}
