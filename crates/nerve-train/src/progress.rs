//! Progress on stderr: a bar on a terminal, a line an epoch elsewhere.

use crate::callback::{Callback, CallbackError, Control, StepEnd, TrainBegin};
use crate::history::History;
use crate::picture::sparkline;
use crate::trainer::Outcome;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shows how a training goes on.
///
/// ```text
/// Epoch  1/10 ━━━━━━━━━━━━━━━━━━━━ 844/844 9.1s 10.8ms/step · loss 0.2412 · acc 0.9271 · val_loss 0.0681 · val_acc 0.9790 ★ best
/// ```
///
/// On a terminal the line of the running epoch is drawn again and again; elsewhere there is one
/// line at the end of each epoch, and one every 30 seconds in long ones. The star marks epochs
/// that are the best so far. At the end stands how the losses went:
///
/// ```text
/// loss █▅▃▂▁▁ 0.4821 → 0.0412 · val_loss █▄▂▁▁▂ 0.1902 → 0.0881
/// ```
pub struct Progress {
    show: Show,
    epochs: u64,
    steps: Option<u64>,
    names: Vec<String>,
    epoch: u64,
    began: Instant,
    shown: Instant,
    /// The step of the last report, and how long the epoch took until then, without validation.
    last: (u64, Duration),
    text: String,
}

enum Show {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

/// Between two drawings of the bar.
const FRAME: Duration = Duration::from_millis(100);
/// Between two lines within an epoch.
const PATIENCE: Duration = Duration::from_secs(30);
const WIDTH: usize = 20;
/// Blocks in the picture of a loss at the end.
const SPARKS: usize = 30;

impl Progress {
    /// On stderr: a bar if it is a terminal, else lines.
    pub fn auto() -> Progress {
        match io::stderr().is_terminal() {
            true => Progress::bar(),
            false => Progress::lines(io::stderr()),
        }
    }

    /// A bar on stderr.
    pub fn bar() -> Progress {
        // Drawn when this says so, not by a thread of its own.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_msg}").expect("the template is valid");
        Progress::new(Show::Bar(bar.with_style(style)))
    }

    /// A line at the end of each epoch.
    pub fn lines(to: impl Write + Send + 'static) -> Progress {
        Progress::new(Show::Lines(Box::new(to)))
    }

    fn new(show: Show) -> Progress {
        let now = Instant::now();
        Progress {
            show,
            epochs: 0,
            steps: None,
            names: Vec::new(),
            epoch: 0,
            began: now,
            shown: now,
            last: (0, Duration::ZERO),
            text: String::new(),
        }
    }

    /// Begins the line with what is known of the running epoch.
    fn compose(&mut self, loss: f64, metrics: &[f64]) {
        let (step, time) = self.last;
        let width = self.epochs.to_string().len();
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "Epoch {:>width$}/{} ", self.epoch, self.epochs);
        if let Some(steps) = self.steps {
            let full = (WIDTH as u64 * step / steps.max(1)).min(WIDTH as u64) as usize;
            self.text.extend((0..WIDTH).map(|i| if i < full { '━' } else { '╌' }));
            let _ = write!(self.text, " {step}/{steps}");
        } else {
            let _ = write!(self.text, "step {step}");
        }
        let seconds = time.as_secs_f64();
        let _ = write!(self.text, " {}", duration(seconds));
        let _ = write!(self.text, " {}/step", duration(seconds / step.max(1) as f64));
        self.score("", loss, metrics);
    }

    fn score(&mut self, prefix: &str, loss: f64, metrics: &[f64]) {
        let _ = write!(self.text, " · {prefix}loss {loss:.4}");
        // Those that are known at the end of an epoch only are no numbers before.
        for (name, value) in self.names.iter().zip(metrics).filter(|(_, value)| !value.is_nan()) {
            let _ = write!(self.text, " · {prefix}{name} {value:.4}");
        }
    }

    /// The losses of all epochs as small pictures, with the first and the last number.
    fn losses(&mut self, history: &History) {
        let losses: Vec<f64> = history.rows.iter().map(|row| row.loss).collect();
        let val: Vec<f64> = history.rows.iter().filter_map(|row| row.val_loss).collect();
        self.text.clear();
        for (name, losses) in [("loss", losses), ("val_loss", val)] {
            if let [first, .., last] = losses[..] {
                let dot = if self.text.is_empty() { "" } else { " · " };
                let picture = sparkline(&losses, SPARKS);
                let _ = write!(self.text, "{dot}{name} {picture} {first:.4} → {last:.4}");
            }
        }
        if !self.text.is_empty() {
            self.line();
        }
    }

    /// A whole line, above the bar if there is one. If nobody reads it, there is nobody to tell.
    fn line(&mut self) {
        match &mut self.show {
            Show::Bar(bar) => bar.suspend(|| drop(writeln!(io::stderr(), "{}", self.text))),
            Show::Lines(to) => drop(writeln!(to, "{}", self.text).and_then(|()| to.flush())),
        }
    }
}

/// `9.1s`, `10.8ms`, `33µs`, `2m05s`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 60.0 => format!("{}m{:02}s", (s / 60.0) as u64, (s % 60.0) as u64),
        s if s >= 1.0 => format!("{s:.1}s"),
        s if s >= 1e-3 => format!("{:.1}ms", s * 1e3),
        s => format!("{:.0}µs", s * 1e6),
    }
}

impl Callback for Progress {
    fn on_train_begin(&mut self, begin: &TrainBegin<'_>) -> Result<(), CallbackError> {
        (self.epochs, self.steps) = (begin.epochs, begin.steps);
        // `acc` is what everybody calls it, and a line should fit a terminal.
        self.names =
            begin.history.metrics.iter().map(|name| name.replace("accuracy", "acc")).collect();
        Ok(())
    }

    fn on_epoch_begin(&mut self, epoch: u64) -> Result<(), CallbackError> {
        let now = Instant::now();
        (self.epoch, self.began, self.shown, self.last) = (epoch, now, now, (0, Duration::ZERO));
        Ok(())
    }

    fn on_step_end(&mut self, step: &StepEnd<'_>) -> Result<Control, CallbackError> {
        let now = Instant::now();
        self.last = (step.step_in_epoch, now - self.began);
        let pause = if matches!(self.show, Show::Bar(_)) { FRAME } else { PATIENCE };
        if now - self.shown >= pause {
            self.shown = now;
            self.compose(step.scores.loss, step.scores.metrics);
            match &self.show {
                Show::Bar(bar) => {
                    bar.set_message(self.text.clone());
                }
                Show::Lines(_) => self.line(),
            }
        }
        Ok(Control::Continue)
    }

    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let Some(row) = history.last() else { return Ok(Control::Continue) };
        self.compose(row.loss, &row.metrics);
        if let Some(loss) = row.val_loss {
            self.score("val_", loss, &row.val_metrics);
        }
        if history.last_is_best() {
            self.text.push_str(" ★ best");
        }
        if let Show::Bar(bar) = &self.show {
            bar.set_message("");
        }
        self.line();
        Ok(Control::Continue)
    }

    fn on_train_end(&mut self, outcome: &Outcome, history: &History) -> Result<(), CallbackError> {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
        self.losses(history);
        self.text.clear();
        if let Outcome::Stopped(reason) = outcome {
            let _ = write!(self.text, "Stopped early at epoch {} ({reason}).", self.epoch);
            if let Some(best) = history.best() {
                let _ = write!(self.text, " Best: epoch {}", best.epoch);
                if let Some(score) = history.goal.score(history, best) {
                    let _ = write!(self.text, ", {} {score:.4}", history.goal.name(history));
                }
                self.text.push('.');
            }
            self.line();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::Scores;
    use crate::checkpoint::Position;
    use crate::history::Row;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn row(epoch: u64, val_loss: Option<f64>) -> Row {
        Row {
            epoch,
            step: 2 * epoch,
            time_s: 1.0,
            lr: 0.1,
            loss: 0.25,
            metrics: vec![0.5],
            val_loss,
            val_metrics: val_loss.map(|_| vec![0.75]).unwrap_or_default(),
        }
    }

    /// Without what depends on time.
    fn show(rows: Vec<Row>, outcome: Outcome) -> Vec<String> {
        let shared = Shared::default();
        let mut progress = Progress::lines(shared.clone());
        let mut history = History { metrics: vec!["accuracy".into()], ..History::default() };
        let position = Position::default();
        let begin = TrainBegin { epochs: 10, steps: Some(2), position, history: &history };
        progress.on_train_begin(&begin).unwrap();
        for row in rows {
            progress.on_epoch_begin(row.epoch).unwrap();
            for step in 1..=2 {
                let scores = Scores { loss: 0.3, metrics: &[0.4] };
                let (epoch, step_in_epoch) = (row.epoch, step);
                let (loss, lr, grad_norm, waited) = (0.3, 0.001, None, 0.0);
                let end =
                    StepEnd { epoch, step_in_epoch, step, loss, scores, lr, grad_norm, waited };
                progress.on_step_end(&end).unwrap();
            }
            progress.last.1 = Duration::from_millis(250);
            history.rows.push(row);
            progress.on_epoch_end(&history).unwrap();
        }
        progress.on_train_end(&outcome, &history).unwrap();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_string).collect()
    }

    #[test]
    fn a_line_an_epoch() {
        let rows = vec![row(1, Some(0.5)), row(2, Some(0.6))];
        let lines = show(rows, Outcome::Stopped("val_loss not better for 1 epoch".into()));
        let head = "━━━━━━━━━━━━━━━━━━━━ 2/2 250.0ms 125.0ms/step · loss 0.2500 · acc 0.5000";
        assert_eq!(
            lines,
            [
                format!("Epoch  1/10 {head} · val_loss 0.5000 · val_acc 0.7500 ★ best"),
                format!("Epoch  2/10 {head} · val_loss 0.6000 · val_acc 0.7500"),
                "loss ▄▄ 0.2500 → 0.2500 · val_loss ▁█ 0.5000 → 0.6000".into(),
                "Stopped early at epoch 2 (val_loss not better for 1 epoch). Best: epoch 1, \
                 val_loss 0.5000."
                    .into(),
            ]
        );
        assert_eq!(show(vec![row(1, None)], Outcome::Finished).len(), 1);
    }

    #[test]
    fn a_bar_that_is_not_seen_does_no_harm() {
        let mut progress = Progress::bar();
        if let Show::Bar(bar) = &progress.show {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        progress.on_epoch_begin(1).unwrap();
        let scores = Scores { loss: 0.3, metrics: &[] };
        let (epoch, loss, lr, grad_norm, waited) = (1, 0.3, 0.1, None, 0.0);
        let (step_in_epoch, step) = (1, 1);
        let step = StepEnd { epoch, step_in_epoch, step, loss, scores, lr, grad_norm, waited };
        progress.shown = Instant::now().checked_sub(2 * FRAME).unwrap_or(progress.shown);
        assert_eq!(progress.on_step_end(&step).unwrap(), Control::Continue);
        progress.on_train_end(&Outcome::Finished, &History::default()).unwrap();
    }

    #[test]
    fn times_are_short() {
        let times = [(125.0, "2m05s"), (9.13, "9.1s"), (0.0108, "10.8ms"), (33e-6, "33µs")];
        for (seconds, text) in times {
            assert_eq!(duration(seconds), text);
        }
    }
}
