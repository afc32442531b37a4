//! Memory: when each slot lives, which may be one, and where they lie in the arena.

use super::lowering::{SLOTS, Slot};
use nerve_cpu::memory::ALIGN;
use nerve_cpu::{Instruction, Region};
use std::collections::HashMap;

/// The first and the last instruction that touches a slot.
#[derive(Clone, Copy, Debug)]
struct Life {
    first: usize,
    last: usize,
}

/// Gives every slot an address in the arena; also the size of the arena.
///
/// A group that reads a value for the last time writes its result in the same place. Then slots
/// are placed by size, the largest first, each as low as those that live at the same time allow.
pub(super) fn assign(instructions: &[Instruction], slots: &[Slot]) -> (Vec<usize>, usize) {
    let mut lives = lives(instructions, slots.len());
    let share = share(instructions, slots, &mut lives);
    let mut order: Vec<usize> =
        (0..slots.len()).filter(|&s| share[s] == s && lives[s].is_some()).collect();
    order.sort_by_key(|&s| (std::cmp::Reverse(slots[s].bytes), s));
    let mut addresses = vec![0; slots.len()];
    let mut placed: Vec<(usize, usize, Life)> = Vec::new(); // start, end, life; by start
    let mut total = 0;
    for slot in order {
        let life = lives[slot].expect("only slots that are used");
        let size = slots[slot].bytes.next_multiple_of(ALIGN);
        let mut start = 0;
        for &(from, to, other) in &placed {
            if other.first <= life.last && life.first <= other.last {
                if from >= start + size {
                    break;
                }
                start = start.max(to);
            }
        }
        addresses[slot] = start;
        total = total.max(start + size);
        let at = placed.partition_point(|p| p.0 <= start);
        placed.insert(at, (start, start + size, life));
    }
    for slot in 0..slots.len() {
        addresses[slot] = addresses[root(&share, slot)];
    }
    (addresses, total)
}

fn slot_of(region: &Region) -> Option<usize> {
    region.buffer.checked_sub(SLOTS).map(|slot| slot as usize)
}

fn lives(instructions: &[Instruction], slots: usize) -> Vec<Option<Life>> {
    let mut lives: Vec<Option<Life>> = vec![None; slots];
    for (i, instruction) in instructions.iter().enumerate() {
        for operand in instruction.operands() {
            let Some(slot) = slot_of(&operand.region) else { continue };
            lives[slot].get_or_insert(Life { first: i, last: i }).last = i;
        }
    }
    lives
}

fn root(share: &[usize], mut slot: usize) -> usize {
    while share[slot] != slot {
        slot = share[slot];
    }
    slot
}

/// For each slot the one whose place it takes, itself if none.
fn share(instructions: &[Instruction], slots: &[Slot], lives: &mut [Option<Life>]) -> Vec<usize> {
    let mut share: Vec<usize> = (0..slots.len()).collect();
    for (i, instruction) in instructions.iter().enumerate() {
        let Instruction::Fused(fused) = instruction else { continue };
        let mut uses: HashMap<usize, usize> = HashMap::new();
        let touched = fused.inputs.iter().chain(fused.outputs.iter().map(|o| &o.view));
        for slot in touched.filter_map(|view| slot_of(&view.region)) {
            *uses.entry(root(&share, slot)).or_default() += 1;
        }
        for output in fused.outputs.iter().filter(|o| o.reduce.is_none()) {
            let Some(new) = slot_of(&output.view.region) else { continue };
            let whole = |region: &Region, slot: usize| region.bytes == slots[slot].bytes;
            let fresh = lives[new].is_some_and(|life| life.first == i) && share[new] == new;
            if !fresh || uses[&new] != 1 || !whole(&output.view.region, new) {
                continue;
            }
            let same = |view: &&nerve_cpu::fused::View| {
                let Some(old) = slot_of(&view.region) else { return false };
                let old = root(&share, old);
                view.strides == output.view.strides
                    && view.offset == output.view.offset
                    && view.element == output.view.element
                    && whole(&view.region, old)
                    && slots[old].bytes == slots[new].bytes
                    && uses[&old] == 1
                    && lives[old].is_some_and(|life| life.last == i)
            };
            let Some(old) = fused.inputs.iter().find(same).and_then(|v| slot_of(&v.region)) else {
                continue;
            };
            let old = root(&share, old);
            share[new] = old;
            uses.insert(old, 2);
            let end = lives[new].take().expect("checked above").last;
            lives[old].as_mut().expect("checked above").last = end;
        }
    }
    share
}
