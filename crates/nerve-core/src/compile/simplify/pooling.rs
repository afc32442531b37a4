//! Rewriting around pooling: the gradient of a ReLU behind a maximum is part of the gradient of the
//! maximum, because the place of a maximum that is not positive can be left out.

use super::constant;
use crate::op::Op;
use crate::ops::{MaxPlace, PoolGrad, Reduce};
use crate::tensor::Tensor;
use nerve_cpu::fused::{self, BinaryOp, UnaryOp};
use nerve_cpu::{NO_PLACE, PoolKind};

/// `relu(max_pool(x)) > 0`: where the maximum has a place. The pooling notes that for its gradient
/// anyway, in a byte.
pub(super) fn mask(op: BinaryOp, inputs: &[Tensor]) -> Option<Tensor> {
    let (Op::Unary(unary), BinaryOp::Gt) = (inputs[0].op(), op) else { return None };
    let pooled = &inputs[0].inputs()[0];
    let Op::Pool(pool) = pooled.op() else { return None };
    let fits = unary.op == UnaryOp::Relu
        && constant(&inputs[1]) == Some(0.0)
        && pool.kind == PoolKind::Max
        && pool.is_small();
    let place = MaxPlace { pool: *pool, positive: true };
    fits.then(|| has_place(&Tensor::apply(place, &[&pooled.inputs()[0]]), pooled))
}

/// Where there is a place, in the arithmetic of `like`, so that it joins the groups of its users.
fn has_place(places: &Tensor, like: &Tensor) -> Tensor {
    let none = Tensor::full(places.shape(), f64::from(NO_PLACE), like.dtype());
    places.to_dtype(like.dtype()).ne(none)
}

/// The places of which `mask` is [`has_place`].
fn places_of(mask: &Tensor) -> Option<(&MaxPlace, &Tensor)> {
    let (Op::Binary(binary), [number, none]) = (mask.op(), mask.inputs()) else { return None };
    let (BinaryOp::Ne, Op::Cast(_)) = (binary.op, number.op()) else { return None };
    let places = &number.inputs()[0];
    match places.op() {
        Op::MaxPlace(op) if op.positive && constant(none) == Some(NO_PLACE.into()) => {
            Some((op, places))
        }
        _ => None,
    }
}

/// The gradient of a maximum whose dy is masked by a ReLU: what has no place goes nowhere. The mask
/// may have been applied to permuted elements.
pub(super) fn grad(op: &PoolGrad, inputs: &[Tensor]) -> Option<Tensor> {
    let [masked, places] = inputs else { return None };
    let (permute, masked) = match masked.op() {
        Op::Permute(permute) => (Some(permute), &masked.inputs()[0]),
        _ => (None, masked),
    };
    let (Op::Select(_), [mask, dy, zero]) = (masked.op(), masked.inputs()) else { return None };
    let mask = match (permute, mask.op()) {
        (None, _) => mask,
        (Some(outer), Op::Permute(inner)) if inner.inverse() == *outer => &mask.inputs()[0],
        _ => return None,
    };
    let (place, positive) = places_of(mask)?;
    let same = place.pool == op.pool && positive.inputs()[0].id() == places.inputs().first()?.id();
    if !same || constant(zero) != Some(0.0) {
        return None;
    }
    let dy = match permute {
        Some(permute) => &Tensor::apply(permute.clone(), &[dy]),
        None => dy,
    };
    Some(Tensor::apply(*op, &[dy, positive]))
}

/// What to sum up instead of the gradient of a maximum: to which element of a window its gradient
/// goes does not matter to a sum over whole images.
pub(super) fn summed(op: &Reduce, x: &Tensor) -> Option<Tensor> {
    let (Op::PoolGrad(_), [dy, places]) = (x.op(), x.inputs()) else { return None };
    let whole = op.axes.contains(&1) && op.axes.contains(&2);
    if op.kind != fused::Reduce::Sum || !whole {
        return None;
    }
    match places.op() {
        Op::MaxPlace(place) if place.positive => {
            Some(has_place(places, dy).select(dy, &dy.zeros_like()))
        }
        _ => Some(dy.clone()),
    }
}
