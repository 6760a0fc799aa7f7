//! The picture of LOLWUT: dots whose density follows two waves that cross.

const WIDTH: usize = 60;
const HEIGHT: usize = 16;
const SHADES: &[u8] = b" .:-=+*#%@";

/// A picture of lines; the seed moves the waves.
pub(super) fn draw(seed: u64) -> String {
    let turn = std::f64::consts::TAU;
    let part = |shift: u32| f64::from((seed >> shift) as u16) / 65_536.0;
    let (phase, pitch, slant) = (part(0) * turn, 1.0 + part(16) * 2.0, part(32) - 0.5);
    let mut picture = String::with_capacity((WIDTH + 1) * (HEIGHT + 1));
    for y in 0..HEIGHT {
        let row = y as f64 / HEIGHT as f64;
        let line: String = (0..WIDTH)
            .map(|x| {
                let column = x as f64 / WIDTH as f64;
                let wave = (turn * pitch * (column + slant * row) + phase).sin();
                let cross = (turn * (row - column * slant) - phase).cos();
                let shade = (wave * cross + 1.0) / 2.0 * (SHADES.len() - 1) as f64;
                char::from(SHADES[shade.round() as usize])
            })
            .collect();
        picture.push_str(line.trim_end());
        picture.push('\n');
    }
    picture.push('\n');
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_seed_draws() {
        for seed in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let picture = draw(seed);
            assert_eq!(picture.lines().count(), HEIGHT + 1);
            assert!(picture.lines().all(|line| line.len() <= WIDTH));
        }
    }
}
