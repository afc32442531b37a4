//! Random changes to the rows of a table, while training only: noise on numbers, and values of other rows.
//!
//! They work on a whole batch: a value that takes another's place is that of another row of the batch, so that it is one
//! that the column has. What is drawn depends on (seed, epoch, place, column) alone.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use crate::Random;

/// What is done to a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disturbance {
    /// The standard deviation of the noise that is added to a number, on the scale that the network sees.
    pub noise: f32,
    /// The share of the values that are replaced by those of another row of the batch.
    pub swap: f32,
}

/// The descriptions of what can be done to numbers.
pub fn of_numbers() -> Vec<&'static Spec> {
    vec![&NOISE, &SWAP]
}

/// The descriptions of what can be done to categories.
pub fn of_categories() -> Vec<&'static Spec> {
    vec![&SWAP]
}

static NOISE: Spec = Spec {
    name: "NumberNoise",
    aliases: &["number_noise"],
    peers: Peers::of("", "layers.GaussianNoise"),
    doc: "Adds normal noise to a number, after it was brought to scale.",
    params: &[Param::with_default(
        "std",
        Kind::non_negative(),
        Value::Float(0.1),
        "its standard deviation; with `normalize = \"zscore\"` a share of that of the column",
    )],
};

static SWAP: Spec = Spec {
    name: "SwapNoise",
    aliases: &["swap_noise"],
    peers: Peers::NONE,
    doc: "Replaces values by those that other rows of the batch have in the same column.",
    params: &[Param::with_default(
        "probability",
        Kind::fraction(),
        Value::Float(0.1),
        "share of the values that are replaced",
    )
    .alias(&["p"])],
};

impl Disturbance {
    /// What the checked list `augment` of a column says; several noises add up, several swaps follow each other.
    pub fn of(args: &Args) -> Disturbance {
        let mut all = Disturbance::default();
        let Some(Value::List(values)) = args.get("augment") else { return all };
        for value in values.iter() {
            match value {
                Value::Item(item) if item.name == NOISE.name => {
                    all.noise = all.noise.hypot(item.args.float("std") as f32);
                }
                Value::Item(item) if item.name == SWAP.name => {
                    let stays = 1.0 - item.args.float("probability") as f32;
                    all.swap = 1.0 - (1.0 - all.swap) * stays;
                }
                _ => {}
            }
        }
        all
    }

    /// Whether nothing is done.
    pub fn is_none(&self) -> bool {
        *self == Disturbance::default()
    }

    /// Disturbs one column of `rows` rows that are `stride` values long: the `width` values from `from` on. Noise goes to
    /// the first of them; a second one says whether the number is missing, and moves with it.
    pub(crate) fn apply(
        &self,
        values: Column<'_>,
        rows: usize,
        [stride, from, width]: [usize; 3],
        random: impl Fn(usize) -> Random,
    ) {
        match values {
            Column::Numbers(values) => {
                self.swap(values, rows, [stride, from, width], &random);
                if self.noise > 0.0 {
                    for row in 0..rows {
                        let mut random = random(row);
                        // What the swap drew is passed over: noise must not depend on it.
                        random.bits();
                        random.bits();
                        values[row * stride + from] += self.noise * normal(&mut random);
                    }
                }
            }
            Column::Names(values) => self.swap(values, rows, [stride, from, width], &random),
        }
    }

    fn swap<T: Copy>(
        &self,
        values: &mut [T],
        rows: usize,
        [stride, from, width]: [usize; 3],
        random: &impl Fn(usize) -> Random,
    ) {
        if self.swap == 0.0 {
            return;
        }
        let column = |row: usize| row * stride + from..row * stride + from + width;
        let before: Vec<T> = (0..rows).flat_map(|row| &values[column(row)]).copied().collect();
        for row in 0..rows {
            let mut random = random(row);
            if random.chance(self.swap) {
                let other = random.below(rows as u64) as usize;
                values[column(row)].copy_from_slice(&before[other * width..(other + 1) * width]);
            }
        }
    }
}

/// The values of a batch that are disturbed.
pub(crate) enum Column<'a> {
    Numbers(&'a mut [f32]),
    Names(&'a mut [i32]),
}

/// A number from the standard normal distribution (Box and Muller, 1958).
fn normal(random: &mut Random) -> f32 {
    let (u, v) = (1.0 - random.uniform(), random.uniform());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(row: usize) -> Random {
        Random::keyed(&[9, row as u64])
    }

    #[test]
    fn noise_is_added_to_the_number_and_not_to_its_flag() {
        let noise = Disturbance { noise: 0.5, swap: 0.0 };
        // Rows of a value, a number and its flag.
        let rows = 2000;
        let mut values: Vec<f32> = (0..rows).flat_map(|_| [7.0, 1.0, 0.0]).collect();
        noise.apply(Column::Numbers(&mut values), rows, [3, 1, 2], random);
        let column = |at: usize| values.iter().skip(at).step_by(3).copied();
        assert!(column(0).all(|x| x == 7.0) && column(2).all(|x| x == 0.0));
        let mean = column(1).sum::<f32>() / rows as f32;
        let variance = column(1).map(|x| (x - mean).powi(2)).sum::<f32>() / rows as f32;
        assert!((mean - 1.0).abs() < 0.05 && (variance.sqrt() - 0.5).abs() < 0.03, "{mean}");
    }

    #[test]
    fn swaps_take_values_with_their_flags_from_the_column_itself() {
        let swap = Disturbance { noise: 0.0, swap: 0.3 };
        let rows = 1000;
        let mut values: Vec<f32> = (0..rows).flat_map(|i| [i as f32, -(i as f32)]).collect();
        swap.apply(Column::Numbers(&mut values), rows, [2, 0, 2], random);
        assert!(values.chunks(2).all(|pair| pair[0] == -pair[1] && pair[0] < rows as f32));
        let changed = (0..rows).filter(|&i| values[2 * i] != i as f32).count();
        assert!((250..350).contains(&changed), "{changed}");
        let mut names: Vec<i32> = (0..rows as i32).collect();
        swap.apply(Column::Names(&mut names), rows, [1, 0, 1], random);
        assert_eq!(names.iter().filter(|&&n| n != 0).count(), rows - 1, "drawn from the column");
        let same: Vec<i32> = values.chunks(2).map(|pair| pair[0] as i32).collect();
        assert_eq!(names, same, "the same draws");
    }

    #[test]
    fn several_of_a_kind_add_up() {
        let list = |text: &str| {
            static PARAMS: [Param; 1] = [Param::optional("augment", LIST, "")];
            static SPEC: Spec =
                Spec { name: "x", aliases: &[], peers: Peers::NONE, doc: "", params: &PARAMS };
            let words: Vec<Value> =
                text.split(';').map(|word| Value::Text(word.to_string().into())).collect();
            let given = [("augment".to_string(), Value::List(words.into()))];
            Disturbance::of(&nerve_formats::spec::check(&SPEC, &given).unwrap())
        };
        let all = list("NumberNoise(3);NumberNoise(4);SwapNoise(0.5);SwapNoise(0.5)");
        assert_eq!(all, Disturbance { noise: 5.0, swap: 0.75 });
        assert!(!all.is_none() && Disturbance::default().is_none());
    }

    static ITEM: Kind = Kind::Item { what: "augmentation", specs: of_numbers };
    const LIST: Kind = Kind::List { of: &ITEM, min_len: 0, max_len: 100 };
}
