//! The one kind of `user` line that means something without ACL: the default user that may do everything.
//!
//! CONFIG REWRITE of Redis writes such a line into every file (`user default on nopass ~* &* +@all`), with the
//! SHA-256 of the password where there is one. All other users, and any restriction, are refused: to start
//! without them would open what their author closed.

/// What a line says about the password of the default user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Password {
    /// None is needed.
    None,
    /// This one.
    Clear(String),
    /// The one with this SHA-256, in lower-case hexadecimal.
    Hashed(String),
}

const NO_ACL: &str = "ACL users are not supported here: only a default user that may do everything";

/// Reads the words after `user`.
pub(super) fn default_user(words: &[String]) -> Result<Password, String> {
    let Some((name, rules)) = words.split_first() else {
        return Err("wrong number of arguments".into());
    };
    if name != "default" {
        return Err(format!("{NO_ACL}, so '{name}' cannot be one"));
    }
    let (mut on, mut keys, mut channels, mut commands) = (false, false, false, false);
    let mut password = None;
    for rule in rules {
        match rule.as_str() {
            "on" => on = true,
            "off" => on = false,
            "~*" | "%RW~*" | "allkeys" => keys = true,
            "resetkeys" => keys = false,
            "&*" | "allchannels" => channels = true,
            "resetchannels" => channels = false,
            "+@all" | "allcommands" => commands = true,
            "-@all" | "nocommands" => commands = false,
            "nopass" => password = Some(Password::None),
            "resetpass" => password = None,
            "sanitize-payload" | "skip-sanitize-payload" => {}
            "reset" => {
                (on, keys, channels, commands, password) = (false, false, false, false, None)
            }
            _ if password.is_none() && rule.starts_with('>') => {
                password = Some(Password::Clear(rule[1..].into()));
            }
            _ if password.is_none() && rule.starts_with('#') => {
                password = Some(Password::Hashed(rule[1..].to_ascii_lowercase()));
            }
            // Rules about passwords are never repeated in an error.
            _ if rule.starts_with(['>', '#', '<', '!']) => {
                return Err("more than one password is not supported here".into());
            }
            _ => return Err(format!("{NO_ACL}, so '{rule}' cannot be granted or denied")),
        }
    }
    if !(on && keys && channels && commands) {
        return Err(format!("{NO_ACL} (on ~* &* +@all)"));
    }
    password.ok_or_else(|| "the default user has neither a password nor nopass".into())
}

/// The SHA-256 of the text in lower-case hexadecimal (FIPS 180-4).
pub(super) fn sha256_hex(text: &str) -> String {
    // The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    let primes: Vec<u64> = (2..312).filter(|n| (2..*n).all(|d| n % d != 0)).collect();
    let mut state: [u32; 8] = std::array::from_fn(|index| fraction(primes[index], 2));
    let constants: [u32; 64] = std::array::from_fn(|index| fraction(primes[index], 3));

    let mut message = text.as_bytes().to_vec();
    let bits = (message.len() as u64) * 8;
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    if message.len() < text.len() + 9 {
        message.resize(message.len() + 64, 0);
    }
    let length_at = message.len() - 8;
    message[length_at..].copy_from_slice(&bits.to_be_bytes());

    for block in message.chunks_exact(64) {
        let mut words = [0u32; 64];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        }
        for at in 16..64 {
            let (early, late) = (words[at - 15], words[at - 2]);
            let small0 = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
            let small1 = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
            words[at] = words[at - 16]
                .wrapping_add(small0)
                .wrapping_add(words[at - 7])
                .wrapping_add(small1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (word, constant) in words.into_iter().zip(constants) {
            let big1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let first = h
                .wrapping_add(big1)
                .wrapping_add(choice)
                .wrapping_add(constant)
                .wrapping_add(word);
            let big0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(big0).wrapping_add(majority));
        }
        for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.wrapping_add(word);
        }
    }
    state.map(|word| format!("{word:08x}")).concat()
}

/// The first 32 bits of the fraction of the square or cube root: the integer root of `prime · 2^(32·degree)`.
fn fraction(prime: u64, degree: u32) -> u32 {
    let target = u128::from(prime) << (32 * degree);
    let (mut low, mut high) = (0u128, 1u128 << 38);
    while high - low > 1 {
        let middle = (low + high) / 2;
        // The root is below 2^37, so that its cube stays within 128 bits.
        if middle.pow(degree) <= target {
            low = middle
        } else {
            high = middle
        }
    }
    low as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Password, String> {
        default_user(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_default_user_that_may_do_everything_is_read() {
        assert_eq!(
            read("default on nopass ~* &* +@all").unwrap(),
            Password::None
        );
        assert_eq!(
            read("default on nopass sanitize-payload ~* &* +@all").unwrap(),
            Password::None
        );
        assert_eq!(
            read("default reset on >x allkeys allchannels allcommands").unwrap(),
            Password::Clear("x".into())
        );
        assert_eq!(
            read("default on #AB ~* &* +@all").unwrap(),
            Password::Hashed("ab".into())
        );
    }

    #[test]
    fn every_other_user_is_refused() {
        for line in [
            "alice on nopass ~* &* +@all",
            "default off nopass ~* &* +@all",
            "default on nopass ~a* &* +@all",
            "default on nopass ~* &* +@all -flushall",
            "default on nopass ~* +@all",
            "default on ~* &* +@all",
            "default on >a >b ~* &* +@all",
            "default",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
        assert!(default_user(&[]).is_err());
    }

    #[test]
    fn sha256_has_its_published_values() {
        for (text, hash) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ] {
            assert_eq!(sha256_hex(text), hash);
        }
        assert_eq!(
            sha256_hex(&"a".repeat(1_000_000)),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
    }
}
