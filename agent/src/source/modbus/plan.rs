//! Which registers are asked for together.

use std::ops::Range;

use super::frame::Request;
use super::register::Register;

/// Bits of one request (Modbus application protocol 1.1b3, section 6.1).
const BITS_MAX: u16 = 2_000;

/// Registers that one request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Which ones, of all in order.
    pub(super) registers: Range<usize>,
    pub(super) request: Request,
    /// What was last wrong with it, so that it is told of once.
    pub(super) told: Option<String>,
}

impl Block {
    /// Of registers that are neighbours; `range` holds one at least.
    fn of(registers: &[Register], range: Range<usize>) -> Self {
        let (slave, space, start) = registers[range.start].at;
        let end = registers[range.end - 1].end();
        let count = u16::try_from(end - u32::from(start)).unwrap_or(u16::MAX);
        Self { registers: range, request: Request { slave, space, start, count }, told: None }
    }

    /// Two requests for half of it each, where a device has not all of it; none where it is a single register.
    pub(super) fn halves(&self, registers: &[Register]) -> Option<[Self; 2]> {
        let Range { start, end } = self.registers;
        let middle = start + (end - start) / 2;
        (start < middle).then(|| [Self::of(registers, start..middle), Self::of(registers, middle..end)])
    }

    /// Its registers by name, for a person.
    pub(super) fn label(&self, registers: &[Register]) -> String {
        let name = |index: usize| registers.get(index).map_or("", |register| register.series.name.as_str());
        let Range { start, end } = self.registers;
        match end - start {
            1 => format!("register {}", name(start)),
            _ => format!("registers {} to {}", name(start), name(end - 1)),
        }
    }
}

/// Requests for all `registers`, which are in the order of their addresses: neighbours in one, with at most `holes_max`
/// addresses in between that are not wanted.
pub(super) fn plan(registers: &[Register], request_max: u16, holes_max: u16) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (index, register) in registers.iter().enumerate() {
        let (slave, space, at) = register.at;
        let most = if space.is_bits() { BITS_MAX } else { request_max };
        let fits = |block: &&mut Block| {
            let Request { slave: its, space: of, start, count } = block.request;
            let hole = u32::from(at).saturating_sub(u32::from(start) + u32::from(count));
            (its, of) == (slave, space) && hole <= holes_max.into() && register.end() - u32::from(start) <= most.into()
        };
        match blocks.last_mut().filter(fits) {
            Some(block) => *block = Block::of(registers, block.registers.start..index + 1),
            None => blocks.push(Block::of(registers, index..index + 1)),
        }
    }
    blocks
}
