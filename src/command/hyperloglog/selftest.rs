//! PFSELFTEST: registers are kept as they were written, and both forms count within the expected error.

use bytes::BytesMut;

use super::registers::{self, Corrupt, REGISTERS, Registers, View};
use crate::base::random::Random;
use crate::keyspace::StringBuf;

/// Times that all registers are written and read back.
const ROUNDS: usize = 50;
/// Elements that are added one by one.
const ELEMENTS: u64 = 100_000;
/// Standard errors that an estimate may be wrong by: beyond four the seeds would have to be unlucky.
const ERRORS_MAX: f64 = 4.0;

/// Runs both tests; says what failed.
pub(super) fn run() -> Result<(), String> {
    let mut random = Random::new(0x5eed);
    registers_are_kept(&mut random)?;
    counts_are_close(&mut random)
}

fn registers_are_kept(random: &mut Random) -> Result<(), String> {
    for _ in 0..ROUNDS {
        let written: Registers = std::array::from_fn(|_| random.below(64) as u8);
        let mut bytes = BytesMut::new();
        let mut buffer = StringBuf::new(&mut bytes);
        registers::init(&mut buffer);
        registers::set_dense(&mut buffer, &written);
        let mut read = [0; REGISTERS];
        let merged = View::new(&buffer).map(|view| view.merge_into(&mut read));
        if merged != Some(Ok(())) || read != written {
            return Err("Registers are not read as they were written".into());
        }
    }
    Ok(())
}

fn counts_are_close(random: &mut Random) -> Result<(), String> {
    let salt = random.next_u64();
    let (mut sparse_bytes, mut dense_bytes) = (BytesMut::new(), BytesMut::new());
    let mut sparse = StringBuf::new(&mut sparse_bytes);
    let mut dense = StringBuf::new(&mut dense_bytes);
    registers::init(&mut sparse);
    registers::init(&mut dense);
    registers::set_dense(&mut dense, &[0; REGISTERS]);
    let mut check_at = 1;
    for added in 1..=ELEMENTS {
        let element = (added ^ salt).to_le_bytes();
        for buffer in [&mut sparse, &mut dense] {
            let element = std::iter::once(&element[..]);
            let _: Result<u64, Corrupt> = registers::add(buffer, element, 3_000);
        }
        if added < check_at {
            continue;
        }
        check_at *= 10;
        let count = |buffer: &StringBuf<'_>| View::new(buffer).and_then(|view| view.count().ok());
        let counts = (count(&sparse), count(&dense));
        let (Some(of_sparse), Some(of_dense)) = counts else {
            return Err(format!("No count of {added} elements"));
        };
        if of_sparse != of_dense {
            return Err("Dense/sparse disagree".into());
        }
        let off = (of_dense as f64 - added as f64).abs();
        let expected = 1.04 / (REGISTERS as f64).sqrt() * added as f64;
        if off > (expected * ERRORS_MAX).max(1.0) {
            return Err(format!("Too big error: {of_dense} for {added} elements"));
        }
    }
    Ok(())
}
