//! A factor that changes slowly over the window.

use std::sync::Arc;

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

use super::{Augment, Entry, Frames, Stage, normal};
use crate::Random;

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    stages: &[Stage::Series],
    build: |args, _| {
        let knots = args.usize("knots");
        Ok(Arc::new(MagnitudeWarp { deviation: args.float("deviation") as f32, knots }))
    },
};

static SPEC: Spec = Spec {
    name: "MagnitudeWarp",
    aliases: &[],
    peers: Peers::NONE,
    doc: "Multiplies the window by a smooth curve around 1.",
    params: &[
        Param::with_default(
            "deviation",
            Kind::positive(),
            Value::Float(0.1),
            "standard deviation of the curve at its knots",
        )
        .alias(&["std"]),
        Param::with_default("knots", Kind::int(2, 64), Value::Int(4), "knots of the curve"),
    ],
};

/// Multiplies the window by a curve through random knots around 1 (Um et al., 2017); between two knots it goes the way of
/// half a cosine, where the paper takes a cubic spline, so that it never overshoots.
#[derive(Clone, Debug)]
pub struct MagnitudeWarp {
    /// Standard deviation at the knots.
    pub deviation: f32,
    /// How many, at equal distances, the ends among them: 2 or more.
    pub knots: usize,
}

impl Augment for MagnitudeWarp {
    fn apply(&self, frames: &mut Frames<'_>, random: &mut Random) {
        let knots = self.knots.max(2);
        let last = frames.time().saturating_sub(1).max(1);
        frames.room.clear();
        frames.room.extend((0..knots).map(|_| 1.0 + self.deviation * normal(random)));
        for (t, moment) in frames.values.chunks_exact_mut(frames.features).enumerate() {
            let place = t as f32 * (knots - 1) as f32 / last as f32;
            let from = (place as usize).min(knots - 2);
            let share = 0.5 - 0.5 * ((place - from as f32) * std::f32::consts::PI).cos();
            let factor = frames.room[from] * (1.0 - share) + frames.room[from + 1] * share;
            moment.iter_mut().for_each(|value| *value *= factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::applied;
    use super::*;

    #[test]
    fn the_curve_is_smooth_and_has_as_many_turns_as_knots_allow() {
        let curve = applied(&MagnitudeWarp { deviation: 0.3, knots: 5 }, &[1.0; 400], 1, 1);
        let steps: Vec<f32> = curve.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| step.abs() < 0.03));
        let turns = steps.windows(2).filter(|pair| pair[0] * pair[1] < 0.0).count();
        assert!(turns <= 3, "{turns}");
        assert!(curve.iter().any(|&x| (x - curve[0]).abs() > 0.05));
    }
}
