//! What is shown while a run goes on: a display on a terminal, lines elsewhere, always on standard error.

use crate::{
    options::Ui,
    report::Point,
    units::{shown_count, shown_ns},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

/// Seconds between two lines where there is no terminal.
const LINE_SECONDS: u64 = 5;

/// What is shown.
pub enum Display {
    Bar(ProgressBar),
    Lines { last: u64 },
    Nothing,
}

impl Display {
    /// For a run of this length.
    pub fn new(ui: Ui, length: Duration) -> Display {
        let is_bar = ui == Ui::Tui || ui == Ui::Auto && stderr().is_terminal();
        match ui {
            Ui::None => Display::Nothing,
            _ if is_bar => {
                let target = ProgressDrawTarget::stderr_with_hz(10);
                let bar = ProgressBar::with_draw_target(Some(length.as_secs().max(1)), target);
                // The form is a constant that is well formed.
                if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {pos}/{len} s  {msg}") {
                    bar.set_style(style.progress_chars("=> "));
                }
                Display::Bar(bar)
            }
            _ => Display::Lines { last: 0 },
        }
    }

    /// Shows a second that is over; `total` is what all of them have.
    pub fn second(&mut self, point: &Point, total: &Point) {
        let waiting = total.sent.saturating_sub(total.done + total.errors);
        let text = format!(
            "{}/s  p50 {}  p99 {}  max {}  errors {}  in flight {waiting}",
            shown_count(point.done),
            shown_ns(point.p50_ns as f64),
            shown_ns(point.p99_ns as f64),
            shown_ns(point.max_ns as f64),
            shown_count(total.errors),
        );
        match self {
            Display::Bar(bar) => {
                bar.set_position(point.second + 1);
                bar.set_message(text);
            }
            Display::Lines { last } if point.second + 1 >= *last + LINE_SECONDS => {
                *last = point.second + 1;
                eprintln!("{:5} s  {text}", point.second + 1);
            }
            _ => {}
        }
    }

    /// Nothing more is shown.
    pub fn finish(&self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
