//! RSA moduli of a generator with a known flaw: CVE-2017-15361 ("ROCA"). Their primes have the form
//! `k·M + 65537^a mod M`, so modulo every small prime the modulus is a power of 65537.

/// Small primes that divide the flawed generator's `M` for all key lengths from 512 bits.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether `modulus`, big-endian, has the fingerprint. A sound key has it with a chance below 2^-27.
pub fn is_roca(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
}

fn remainder(number: &[u8], divisor: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % divisor)
}

fn is_power_of_65537(value: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == value {
            return true;
        }
        power = power * (65_537 % prime) % prime;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_told_from_other_numbers() {
        // Modulo 11, 65537 is 10: its powers are 1 and 10.
        let cases = [(1, true), (10, true), (2, false), (0, false), (5, false)];
        for (value, expected) in cases {
            assert_eq!(is_power_of_65537(value, 11), expected, "{value}");
        }
        assert_eq!(remainder(&[1, 0, 0], 7), 65_536 % 7);
    }
}
