//! Semantic versions, read without allocating: missing minor and patch are 0, the build part is ignored.

use std::cmp::Ordering;

/// A version that borrows its pre-release part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'a> {
    core: [u64; 3],
    pre: &'a str,
}

impl<'a> Version<'a> {
    /// Reads `1`, `1.2`, `1.2.3`, each with `-pre` and `+build`. No leading `v`, no leading zeros.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (text, build) = text.split_once('+').map_or((text, None), |(head, build)| (head, Some(build)));
        if build.is_some_and(|b| !b.split('.').all(is_identifier)) {
            return None;
        }
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(head, pre)| (head, Some(pre)));
        if pre.is_some_and(|p| !p.split('.').all(|id| is_identifier(id) && !has_leading_zero(id))) {
            return None;
        }
        let mut core = [0; 3];
        let mut parts = numbers.split('.');
        for (at, slot) in core.iter_mut().enumerate() {
            match parts.next() {
                Some(part) => *slot = number(part)?,
                None if at > 0 => break,
                None => return None,
            }
        }
        if parts.next().is_some() {
            return None;
        }
        Some(Self { core, pre: pre.unwrap_or_default() })
    }

    pub(crate) fn precedence(&self, other: &Version<'_>) -> Ordering {
        self.core.cmp(&other.core).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => pre_release(self.pre, other.pre),
        })
    }
}

fn pre_release(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(l), Some(r)) => match (is_number(l), is_number(r)) {
                (true, true) => l.len().cmp(&r.len()).then_with(|| l.cmp(r)),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => l.cmp(r),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn is_identifier(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_number(id: &str) -> bool {
    id.bytes().all(|b| b.is_ascii_digit())
}

fn has_leading_zero(id: &str) -> bool {
    id.len() > 1 && id.starts_with('0') && is_number(id)
}

fn number(part: &str) -> Option<u64> {
    if part.is_empty() || !is_number(part) || has_leading_zero(part) {
        return None;
    }
    part.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Version;
    use std::cmp::Ordering::{self, Equal, Greater, Less};

    #[track_caller]
    fn check(a: &str, b: &str, expected: Option<Ordering>) {
        let found = Version::parse(a).and_then(|l| Version::parse(b).map(|r| l.precedence(&r)));
        assert_eq!(found, expected, "{a} against {b}");
    }

    #[test]
    fn precedence_is_that_of_semver_2() {
        check("2", "2.0.0", Some(Equal));
        check("2.1", "2.1.0", Some(Equal));
        check("2-rc", "2.0.0-rc", Some(Equal));
        check("1.0.0+a", "1.0.0+b", Some(Equal));
        check("1.2.10", "1.2.9", Some(Greater));
        check("1.0.0-alpha", "1.0.0", Some(Less));
        check("1.0.0-alpha", "1.0.0-alpha.1", Some(Less));
        check("1.0.0-alpha.2", "1.0.0-alpha.11", Some(Less));
        check("1.0.0-1", "1.0.0-a", Some(Less));
        check("1.0.0-beta", "1.0.0-alpha.9", Some(Greater));
    }

    #[test]
    fn what_is_not_a_version_compares_with_nothing() {
        for bad in [
            "", "v1", "02", "1.02.0", "1.2.3.4", "1.", ".1", "1.0.0-", "1.0.0-01", "1.0.0+", "a", "1.x", " 1",
        ] {
            check(bad, "1.0.0", None);
        }
    }
}
