//! The filter of a convolution as Winograd's algorithm wants it.

use super::Conv;
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A filter `[3, 3, c, o]`, transformed for a [`Conv`] of images of one shape: in the order that
/// its kernel reads. The compiler puts it before convolutions that are faster with it; if the filter
/// does not change from run to run, it is transformed once. Where products round their operands to
/// bf16, pairs of those fill the first half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinogradFilter {
    /// The convolution.
    pub conv: Conv,
    /// The shape of the images.
    pub image: [usize; 4],
}

impl WinogradFilter {
    /// The transformed filter of this convolution, if it is faster with it.
    pub(crate) fn of(conv: Conv, image: &Tensor, filter: &Tensor) -> Option<Tensor> {
        let op = WinogradFilter { conv, image: <[usize; 4]>::try_from(&image.shape()[..]).ok()? };
        op.elements(filter).map(|_| Tensor::apply(op, &[filter]))
    }

    fn kernel(&self, filter: &Tensor) -> nerve_cpu::Conv {
        self.conv.kernel(filter.dtype(), &self.image.into(), filter.shape())
    }

    fn elements(&self, filter: &Tensor) -> Option<usize> {
        Some(self.kernel(filter).winograd_bytes()? / DType::F32.bytes())
    }
}

impl Operation for WinogradFilter {
    fn name(&self) -> &'static str {
        "winograd_filter"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let elements = self.elements(&inputs[0]);
        let elements = elements.ok_or("of a convolution that is not faster with it")?;
        Ok(([elements].into(), DType::F32))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for WinogradFilter {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let filter = &node.inputs()[0];
        let (from, to) = (cx.elements(filter), cx.output_region(node));
        let strides = from.strides.try_into().expect("filters have four axes");
        let conv = nerve_cpu::Conv { precision: cx.precision(), ..self.kernel(filter) };
        cx.emit(conv.winograd_filter(from.region, from.offset, strides, to));
    }
}
