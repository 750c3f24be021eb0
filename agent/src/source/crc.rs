//! The CRC of energy meters, on Modbus and on P1 ports.

/// CRC-16 with the polynomial 0x8005, bits reflected, beginning with `start`: 0xFFFF for MODBUS, 0 for ARC.
pub(super) fn crc16(start: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(start, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of parametrised CRC algorithms.
    #[test]
    fn the_catalogues_check_values_come_out() {
        assert_eq!(crc16(0xffff, b"123456789"), 0x4b37);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
    }
}
