//! The name that someone who mistyped one probably meant.

use super::table::PARAMETERS;

/// The known parameter nearest to `name`, if one is near enough to be a likely slip.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // A name of this length is no slip; the bound keeps the distance below cheap.
    if name.len() > 64 {
        return None;
    }
    let names = PARAMETERS
        .iter()
        .filter(|parameter| !parameter.access.hidden);
    let names =
        names.flat_map(|parameter| std::iter::once(&parameter.name).chain(parameter.aliases));
    let name = name.to_ascii_lowercase().replace('_', "-");
    names
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), *candidate))
        .min()
        .filter(|(distance, _)| *distance <= (name.len() / 3).clamp(1, 3))
        .map(|(_, candidate)| candidate)
}

/// "unknown parameter 'x'", with the likely meaning if there is one.
pub(super) fn unknown(name: &str) -> String {
    match nearest(name) {
        Some(near) => format!("unknown parameter '{name}' (did you mean '{near}'?)"),
        None => format!("unknown parameter '{name}'"),
    }
}

/// How many single-byte edits, exchanges of neighbours included, lead from one text to the other.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let mut edits = above[column] + usize::from(a != b);
            edits = edits.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *a == to[column - 1] && from[row - 1] == *b {
                edits = edits.min(before[column - 1] + 1);
            }
            current.push(edits);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        assert_eq!(nearest("prot"), Some("port"));
        assert_eq!(nearest("maxmemroy"), Some("maxmemory"));
        assert_eq!(nearest("append_only"), Some("appendonly"));
        assert_eq!(nearest("slave-prority"), Some("slave-priority"));
        assert_eq!(nearest("completely-different"), None);
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }
}
