//! When what is made anew. Pure but for the making of keys; time is an argument.
//!
//! ```text
//!  CA 1  signs ────────────────────────────┐ trusted ──────┐ gone
//!  CA 2            trusted (next) ─────────┘ signs ────────┼──────── …
//!                  │◀── overlap, and every  │◀── overlap ──▶│
//!                  │    caBundle holds it ─▶│
//! ```
//!
//! A CA is known to API servers before anything that it signed is served, and stays known until nothing
//! of it is served any more. The overlap is for replicas and API servers that hear of it late.

use std::time::Duration;

use super::issued::{Certificate, Key, Pair, seconds};
use super::material::Material;

/// How long what is valid, and for whom.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    /// Names and addresses that the serving certificate is for.
    pub(super) hosts: Vec<String>,
    /// `--certificate-duration`.
    pub(super) certificate: Duration,
    /// `--ca-duration`.
    pub(super) authority: Duration,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Write this, and ask again.
    Write(Box<Material>),
    /// Ask again then, in seconds since 1970, or when something changed.
    Wait(i64),
}

impl Rotation {
    /// The next step from what the Secret holds. `announced`: every caBundle is as
    /// [`Material::bundle`] has it.
    ///
    /// # Errors
    /// What rcgen says, of wrong hosts for one.
    pub(super) fn step(
        &self,
        held: &Material,
        announced: bool,
        now: i64,
    ) -> Result<Step, rcgen::Error> {
        let write = |material| Ok(Step::Write(Box::new(material)));
        let next = held
            .next
            .as_ref()
            .filter(|next| next.certificate.ends() > now);
        let signing = held
            .signing
            .as_ref()
            .filter(|(certificate, _)| certificate.ends() > now);
        let Some((signing, key)) = signing else {
            let authority = match next {
                Some(next) => next.clone(),
                None => Pair::authority(now, self.authority)?,
            };
            return write(self.promoted(held, authority, now)?);
        };
        let serving = held.serving.as_ref().map(|pair| &pair.certificate);
        let works = serving.is_some_and(|serving| serving.serves(signing, &self.hosts, now));
        // It has signed nothing yet.
        let next = next.filter(|next| !self.is_short(&next.certificate));
        match next {
            None if key.is_none() || signing.due() <= now || self.is_short(signing) => {
                let next = Some(Pair::authority(now, self.authority)?);
                return write(Material {
                    next,
                    ..held.clone()
                });
            }
            Some(next) => {
                let known = announced && now >= next.certificate.made() + self.overlap();
                // Where nothing works there is nothing to lose.
                if known || (key.is_none() && !works) {
                    return write(self.promoted(held, next.clone(), now)?);
                }
            }
            None => {}
        }
        if let Some(key) = key {
            let due = serving.is_none_or(|serving| {
                // One that ends with its CA would be followed by another that does.
                serving.due() <= now && serving.ends() < signing.ends()
            });
            if due || !works {
                let pair = Pair {
                    certificate: signing.clone(),
                    key: key.clone(),
                };
                let serving = Some(pair.issue(&self.hosts, now, self.certificate)?);
                return write(Material {
                    serving,
                    ..held.clone()
                });
            }
        }
        let served = serving.map_or(i64::MAX, |serving| serving.made() + self.overlap());
        if held.old.is_some() && works && served <= now {
            return write(Material {
                old: None,
                ..held.clone()
            });
        }
        let times = [
            Some(signing.due()),
            Some(signing.ends()),
            next.map(|next| next.certificate.made() + self.overlap()),
            serving.map(Certificate::due),
            held.old.as_ref().map(|_| served),
        ];
        let later = times.into_iter().flatten().filter(|time| *time > now).min();
        Ok(Step::Wait(later.unwrap_or(i64::MAX)))
    }

    /// `authority` signs from now on.
    fn promoted(
        &self,
        held: &Material,
        authority: Pair,
        now: i64,
    ) -> Result<Material, rcgen::Error> {
        let serving = authority.issue(&self.hosts, now, self.certificate)?;
        let Pair { certificate, key } = authority;
        Ok(Material {
            signing: Some((certificate, Some::<Key>(key))),
            next: None,
            old: held.signing.as_ref().map(|(old, _)| old.clone()),
            serving: Some(serving),
        })
    }

    /// Whether a CA was made for so much less than `--ca-duration` that it is worth another: somebody has said
    /// since that it is to last.
    fn is_short(&self, signing: &Certificate) -> bool {
        signing.ends() - signing.made() < seconds(self.authority) / 2
    }

    /// Seconds in which every replica has seen a change of the Secret, and every API server one of the
    /// configuration. A tenth of a certificate's time is before the third that is left of it when its
    /// CA is due.
    fn overlap(&self) -> i64 {
        seconds(self.certificate) / 10
    }
}

#[cfg(test)]
mod tests;
