//! Prometheus' text format, as far as sums of counters need it.

/// One sample of a counter or gauge.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<'a> {
    /// The metric.
    pub(super) name: &'a str,
    /// What stands between the braces.
    labels: &'a str,
    /// Its value.
    pub(super) value: f64,
}

impl<'a> Sample<'a> {
    /// A label's value, where it has nothing that is escaped.
    pub(super) fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        while let Some((own, tail)) = rest.split_once("=\"") {
            let (value, tail) = tail.split_once('"')?;
            if own.trim_start_matches([',', ' ']) == name {
                return Some(value);
            }
            rest = tail;
        }
        None
    }
}

/// The samples of a text, in order. Lines that are none are passed over.
pub(super) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter_map(|line| {
        let (name, labels, rest) = match line.split_once('{') {
            Some((name, rest)) => {
                let (labels, rest) = rest.rsplit_once('}')?;
                (name, labels, rest)
            }
            None => {
                let (name, rest) = line.split_once(' ')?;
                (name, "", rest)
            }
        };
        if name.starts_with('#') || name.contains(' ') {
            return None;
        }
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Sample {
            name,
            labels,
            value,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_labels() {
        let text = "# HELP x What {it} is.\n# TYPE x counter\nx_total{a=\"1\",b=\"two}\"} 3\n\
                    x_total{} 4 1700000000\nx 5.5e1\nbroken{\nother +Inf\n# EOF\n";
        let all: Vec<_> = samples(text).collect();
        let seen: Vec<_> = all
            .iter()
            .map(|sample| (sample.name, sample.value))
            .collect();
        assert_eq!(
            seen,
            [
                ("x_total", 3.0),
                ("x_total", 4.0),
                ("x", 55.0),
                ("other", f64::INFINITY)
            ]
        );
        assert_eq!(all[0].label("a"), Some("1"));
        assert_eq!(all[0].label("b"), Some("two}"));
        assert_eq!(all[0].label("c"), None);
        assert_eq!(all[1].label("a"), None);
    }
}
