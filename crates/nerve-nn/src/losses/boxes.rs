use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use std::f64::consts::PI;

/// How boxes that do not overlap are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoxDistance {
    /// Not at all: intersection over union. No gradient where there is no overlap.
    Iou,
    /// By the empty part of the smallest box around both. Rezatofighi et al., 2019.
    #[default]
    Giou,
    /// By the distance of their centres. Zheng et al., "Distance-IoU loss", 2020.
    Diou,
    /// By the distance of their centres and by their proportions. Zheng et al., 2020.
    Ciou,
}

/// One minus the intersection over union of two boxes, and something for boxes that do not overlap.
///
/// - IoU: 1 − I / U
/// - GIoU: that + (C − U) / C, with C the area of the smallest box around both
/// - DIoU: that of IoU + d² / c², with d the distance of the centres and c the diagonal of that box
/// - CIoU: that of DIoU + α v, v = 4/π² (atan(w/h) − atan(w'/h'))², α = v / (1 − IoU + v) without
///   gradient
///
/// Outputs and targets are boxes `[batch, …, 4]`: left, top, right, bottom, with left ≤ right and
/// top ≤ bottom (a box the other way round has no area). A term for each box. Denominators are at
/// least 10⁻⁷ (torchvision adds that).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{BoxDistance, Boxes, Loss};
/// let a = Tensor::from_slice(&[0.0f32, 0.0, 2.0, 1.0], [1, 4]);
/// let b = Tensor::from_slice(&[1.0f32, 0.0, 3.0, 1.0], [1, 4]);
/// let iou = Boxes { distance: BoxDistance::Iou };
/// assert!((iou.loss(&a, &b).item::<f32>() - 2.0 / 3.0).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boxes {
    /// How boxes that do not overlap are compared.
    pub distance: BoxDistance,
}

const EPS: f64 = 1e-7;

/// Left, top, right and bottom of boxes, without the last axis.
struct Corners([Tensor; 4]);

impl Corners {
    fn of(boxes: &Tensor) -> Corners {
        let shape = &boxes.shape()[..boxes.rank() - 1];
        Corners([0, 1, 2, 3].map(|at| boxes.slice(-1, at, at + 1).reshape(shape)))
    }

    fn pair(&self, other: &Corners, outer: bool) -> Corners {
        Corners([0, 1, 2, 3].map(|i| match (i < 2) == outer {
            true => self.0[i].minimum(&other.0[i]),
            false => self.0[i].maximum(&other.0[i]),
        }))
    }

    fn size(&self) -> [Tensor; 2] {
        [0, 1].map(|i| (&self.0[i + 2] - &self.0[i]).relu())
    }

    fn area(&self) -> Tensor {
        let [w, h] = self.size();
        w * h
    }
}

impl Loss for Boxes {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        assert!(
            output.shape() == target.shape() && output.shape().last() == Some(&4),
            "boxes: output {} and target {}: both [batch, …, 4]",
            output.shape(),
            target.shape()
        );
        let (a, b) = (Corners::of(output), Corners::of(&target.to_dtype(output.dtype())));
        let (both, hull) = (a.pair(&b, false).area(), a.pair(&b, true));
        let union = a.area() + b.area() - &both;
        let iou = both / union.maximum(EPS);
        let apart = || {
            let middle = |c: &Corners, i: usize| &c.0[i] + &c.0[i + 2];
            let [x, y] = [0, 1].map(|i| (middle(&a, i) - middle(&b, i)).square() * 0.25);
            let [w, h] = hull.size();
            (x + y) / (w.square() + h.square()).maximum(EPS)
        };
        Terms::new(match self.distance {
            BoxDistance::Iou => 1.0 - iou,
            BoxDistance::Giou => {
                let around = hull.area();
                1.0 - iou + (&around - union) / around.maximum(EPS)
            }
            BoxDistance::Diou => 1.0 - iou + apart(),
            BoxDistance::Ciou => {
                let angle = |c: &Corners| {
                    let [w, h] = c.size();
                    w.atan2(h.maximum(EPS))
                };
                let v = (angle(&a) - angle(&b)).square() * (4.0 / (PI * PI));
                let alpha = (&v / (&v - &iou + 1.0).maximum(EPS)).detach();
                1.0 - iou + apart() + alpha * v
            }
        })
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        match output.last() == Some(&4) && *target.shape == *output {
            true => Ok(()),
            false => check_like(output, target).and(Err(Misfit {
                needs: "boxes […, 4] as outputs and targets".into(),
                hint: "left, top, right, bottom".into(),
            })),
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "iou",
        aliases: &["box_iou", "generalized_box_iou_loss"],
        peers: Peers::NONE,
        doc: "One minus the intersection over union of two boxes, and their distance.",
        params: &[
            Param::with_default(
                "distance",
                Kind::Choice(&["iou", "giou", "diou", "ciou"]),
                Value::text("giou"),
                "how boxes that do not overlap are compared",
            )
            .alias(&["kind"]),
            REDUCTION,
        ],
    },
    build: |args| {
        let distance = match args.text("distance") {
            "iou" => BoxDistance::Iou,
            "diou" => BoxDistance::Diou,
            "ciou" => BoxDistance::Ciou,
            _ => BoxDistance::Giou,
        };
        Box::new(Boxes { distance })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Boxes(&[4]), Values::Boxes(&[4])),
        Sample::of("distance = 'iou'", Values::Boxes(&[3, 4]), Values::Boxes(&[3, 4])),
        Sample::of("distance = 'diou'", Values::Boxes(&[4]), Values::Boxes(&[4])),
        Sample::of("distance = 'ciou'", Values::Boxes(&[4]), Values::Boxes(&[4])),
    ],
};
