//! The filter of a convolution in the order in which the convolution reads it.

use super::Conv;
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::Precision;

/// A filter `[kh, kw, c, o]` in panels, for a [`Conv`] of images of one shape. The compiler puts it before convolutions
/// that are faster with them and whose filter does not change from run to run: it is then packed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterPanels {
    /// The convolution.
    pub conv: Conv,
    /// The shape of the images.
    pub image: [usize; 4],
    /// How exactly the convolution takes its operands: panels may be rounded as they are packed.
    pub precision: Precision,
}

impl FilterPanels {
    /// The filter of this convolution in panels, if it is faster with them.
    pub(crate) fn of(
        conv: Conv,
        image: &Tensor,
        filter: &Tensor,
        precision: Precision,
    ) -> Option<Tensor> {
        let image = <[usize; 4]>::try_from(&image.shape()[..]).ok()?;
        let op = FilterPanels { conv, image, precision };
        op.elements(filter).map(|_| Tensor::apply(op, &[filter]))
    }

    fn kernel(&self, filter: &Tensor) -> nerve_cpu::Conv {
        let kernel = self.conv.kernel(filter.dtype(), &self.image.into(), filter.shape());
        nerve_cpu::Conv { precision: self.precision, ..kernel }
    }

    fn elements(&self, filter: &Tensor) -> Option<usize> {
        let kernel = self.kernel(filter);
        // A filter has one form only.
        let bytes = kernel.packed_bytes().filter(|_| kernel.winograd_bytes().is_none());
        Some(bytes? / DType::F32.bytes())
    }
}

impl Operation for FilterPanels {
    fn name(&self) -> &'static str {
        "filter_panels"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let elements = self.elements(&inputs[0]);
        let elements = elements.ok_or("of a convolution that is not faster with them")?;
        Ok(([elements].into(), DType::F32))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for FilterPanels {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let filter = &node.inputs()[0];
        let (from, to) = (cx.contiguous(filter), cx.output_region(node));
        cx.emit(nerve_cpu::Conv { filter: from, ..self.kernel(filter) }.pack_filter(to));
    }

    fn packs(&self, _: usize) -> bool {
        true
    }
}
