//! The lists of CPUs that `server-cpulist` takes: `0-3,8`, `0-7:2`.

use thiserror::Error;

/// No machine that runs this has more CPUs than Linux's own largest set.
const CPU_COUNT_MAX: usize = 8192;

/// What is wrong with a list of CPUs.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CpuListError {
    /// A part is not a number, a range or a range with a step.
    #[error(
        "CPU list '{list}': '{part}' is not a CPU, a range such as 0-3, or a range with a step such as 0-7:2"
    )]
    Malformed {
        /// The whole list.
        list: String,
        /// The part that is wrong.
        part: String,
    },
    /// A range runs backwards.
    #[error("CPU list '{list}': the range '{part}' ends before it starts")]
    Backwards {
        /// The whole list.
        list: String,
        /// The part that is wrong.
        part: String,
    },
    /// A number is beyond what Linux can name.
    #[error("CPU list '{list}': there is no CPU {cpu} on any machine")]
    TooLarge {
        /// The whole list.
        list: String,
        /// The number that is too large.
        cpu: usize,
    },
}

/// The CPUs of a list, ascending, each once. The empty list names none.
pub fn parse_cpu_list(list: &str) -> Result<Vec<usize>, CpuListError> {
    let mut cpus = Vec::new();
    if list.trim().is_empty() {
        return Ok(cpus);
    }
    for part in list.split(',').map(str::trim) {
        let malformed = || CpuListError::Malformed {
            list: list.into(),
            part: part.into(),
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than a number holds are a CPU that does not exist, not a malformed list.
            if digits {
                Ok(text.parse::<usize>().unwrap_or(usize::MAX))
            } else {
                Err(malformed())
            }
        };
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, number(step)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            // A step without a range is a mistake rather than one CPU.
            None if part.contains(':') => return Err(malformed()),
            None => (number(range)?, number(range)?),
        };
        if step == 0 {
            return Err(malformed());
        }
        if last < first {
            return Err(CpuListError::Backwards {
                list: list.into(),
                part: part.into(),
            });
        }
        if last >= CPU_COUNT_MAX {
            return Err(CpuListError::TooLarge {
                list: list.into(),
                cpu: last,
            });
        }
        cpus.extend((first..=last).step_by(step));
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_ranges_and_steps() {
        for (list, cpus) in [
            ("", vec![]),
            ("0", vec![0]),
            ("0-3,8", vec![0, 1, 2, 3, 8]),
            ("0-7:2", vec![0, 2, 4, 6]),
            ("8, 1-2,2", vec![1, 2, 8]),
            ("5-5", vec![5]),
            ("0-1:18446744073709551615", vec![0]),
        ] {
            assert_eq!(parse_cpu_list(list).unwrap(), cpus, "{list}");
        }
    }

    #[test]
    fn what_is_no_list_says_so() {
        for list in [
            "a", "1-", "-1", "1,,2", ",", "0-3:0", "3:2", "0-3:", "1.5", "0x1",
        ] {
            assert!(
                matches!(parse_cpu_list(list), Err(CpuListError::Malformed { .. })),
                "{list}"
            );
        }
        assert!(matches!(
            parse_cpu_list("3-1"),
            Err(CpuListError::Backwards { .. })
        ));
        for list in ["8192", "0-99999999999999999999999"] {
            assert!(
                matches!(parse_cpu_list(list), Err(CpuListError::TooLarge { .. })),
                "{list}"
            );
        }
    }
}
