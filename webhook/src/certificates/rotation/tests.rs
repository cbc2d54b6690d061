use k8s_openapi::api::core::v1::Secret;

use super::super::issued::Certificate;
use super::*;

const START: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;

fn rotation() -> Rotation {
    Rotation {
        hosts: vec![
            "streamway-webhook.streamway-system.svc".into(),
            "192.0.2.1".into(),
        ],
        certificate: Duration::from_secs(30 * 24 * 3600),
        authority: Duration::from_secs(365 * 24 * 3600),
    }
}

/// Steps until there is nothing to write; what is held then, how many writes it took, and until when.
fn settled(
    rotation: &Rotation,
    mut held: Material,
    announced: bool,
    now: i64,
) -> (Material, usize, i64) {
    for writes in 0..10 {
        match rotation.step(&held, announced, now).unwrap() {
            Step::Write(next) => {
                // As another replica reads it.
                let mut secret = Secret::default();
                next.write(&mut secret);
                assert_eq!(Material::read(&secret), *next, "the Secret holds all of it");
                held = *next;
            }
            Step::Wait(until) => return (held, writes, until),
        }
    }
    panic!("{held:?} does not settle");
}

fn begun() -> Material {
    settled(&rotation(), Material::default(), true, START).0
}

fn signing(held: &Material) -> Certificate {
    held.signing.clone().unwrap().0
}

fn serving(held: &Material) -> Certificate {
    held.serving.clone().unwrap().certificate
}

#[test]
fn an_empty_secret_is_filled_by_one_write() {
    let (held, writes, until) = settled(&rotation(), Material::default(), true, START);
    assert_eq!(writes, 1);
    assert!(serving(&held).serves(&signing(&held), &rotation().hosts, START));
    assert_eq!((held.next.clone(), held.old.clone()), (None, None));
    assert_eq!(until, START + 20 * DAY, "the certificate is due first");
    assert_eq!(held.bundle().matches("BEGIN CERTIFICATE").count(), 1);
    assert_eq!(serving(&held).ends(), START + 30 * DAY);
    let debug = format!("{held:?}");
    assert!(
        !debug.contains("PRIVATE") && !debug.contains("BEGIN"),
        "{debug}"
    );
}

#[test]
fn a_serving_certificate_is_renewed_by_the_same_ca() {
    let held = begun();
    let early = settled(&rotation(), held.clone(), true, START + 20 * DAY - 1);
    assert_eq!(early.1, 0);
    let (after, writes, _) = settled(&rotation(), held.clone(), true, START + 20 * DAY);
    assert_eq!((writes, signing(&after)), (1, signing(&held)));
    assert_ne!(serving(&after), serving(&held));
    let other = Rotation {
        hosts: vec!["192.0.2.2".into()],
        ..rotation()
    };
    let (after, writes, _) = settled(&other, held.clone(), true, START + 1);
    assert_eq!(
        (writes, signing(&after)),
        (1, signing(&held)),
        "for another host"
    );
    let fewer = Rotation {
        hosts: vec!["192.0.2.1".into()],
        ..rotation()
    };
    assert_eq!(
        settled(&fewer, held, true, START + 1).1,
        0,
        "one host of two is enough"
    );
}

#[test]
fn a_ca_that_is_to_last_longer_from_now_on_is_followed_by_one_that_does() {
    let held = begun();
    let years = |years: u64| Rotation {
        authority: Duration::from_secs(years * 365 * 24 * 3600),
        ..rotation()
    };
    assert_eq!(settled(&years(2), held.clone(), true, START + 1).1, 0);
    let (known, ..) = settled(&years(10), held.clone(), true, START + 1);
    assert_eq!(signing(&known), signing(&held));
    let next = known.next.clone().unwrap().certificate;
    let (after, ..) = settled(&years(10), known, true, START + 1 + 3 * DAY);
    assert_eq!((signing(&after), after.next.clone()), (next, None));
    // So is one that is known and has not signed yet.
    let due = signing(&held).due();
    let (known, ..) = settled(&rotation(), held, true, due);
    let (known, ..) = settled(&years(10), known, true, due + 1);
    let next = known.next.clone().unwrap().certificate;
    assert_eq!(next.ends() - next.made(), 10 * 365 * DAY);
    assert!(known.bundle().contains(&signing(&known).pem));
    // One that is to last less goes on as long as it may.
    assert_eq!(settled(&years(1), after, true, START + 2 + 3 * DAY).1, 0);
}

#[test]
fn a_new_ca_signs_once_it_was_known_everywhere_for_a_while() {
    let due = signing(&begun()).due();
    let (held, ..) = settled(&rotation(), begun(), true, due - 1);
    assert_eq!(held.next, None);
    let (known, _, _) = settled(&rotation(), held.clone(), true, due);
    let next = known.next.clone().unwrap().certificate;
    assert!(known.bundle().contains(&next.pem) && known.bundle().contains(&signing(&held).pem));
    assert!(
        serving(&known).serves(&signing(&held), &[], due),
        "the old one still signs"
    );

    let later = due + 3 * DAY;
    assert_eq!(
        signing(&settled(&rotation(), known.clone(), true, later - 1).0),
        signing(&held)
    );
    let unannounced = settled(&rotation(), known.clone(), false, later + 30 * DAY).0;
    assert_eq!(
        signing(&unannounced),
        signing(&held),
        "no caBundle holds it"
    );
    let (after, _, until) = settled(&rotation(), known.clone(), true, later);
    assert_eq!(signing(&after), next);
    assert!(serving(&after).serves(&next, &rotation().hosts, later));
    assert_eq!(
        after.old,
        Some(signing(&held)),
        "what it signed may still be served"
    );
    assert_eq!(until, later + 3 * DAY);
    assert_eq!(
        settled(&rotation(), after.clone(), true, until - 1).0.old,
        after.old
    );
    assert_eq!(settled(&rotation(), after, true, until).0.old, None);
}

#[test]
fn a_ca_that_ends_unannounced_is_replaced_nevertheless() {
    let held = begun();
    let ends = signing(&held).ends();
    let (after, ..) = settled(&rotation(), held, false, ends);
    assert!(serving(&after).serves(&signing(&after), &rotation().hosts, ends));
}

/// What a person may do to the Secret, and what comes of it at once.
#[test]
fn parts_that_go_missing_are_made_anew() {
    let held = begun();
    let now = START + DAY;
    let no_serving = Material {
        serving: None,
        ..held.clone()
    };
    let (after, ..) = settled(&rotation(), no_serving, true, now);
    assert_eq!(
        signing(&after),
        signing(&held),
        "only the certificate is new"
    );
    assert_ne!(serving(&after), serving(&held));

    // The key of the CA is gone, or the whole Secret is and a replica still serves from it.
    let (after, ..) = settled(&rotation(), held.without_signing_key(), true, now);
    assert_eq!(serving(&after), serving(&held), "nothing new is served yet");
    let next = after.next.clone().unwrap().certificate;
    let (after, ..) = settled(&rotation(), after, true, now + 3 * DAY);
    assert_eq!(signing(&after), next, "and then it is");

    // With nothing to serve there is nothing to wait for.
    let none = Material {
        serving: None,
        ..held.without_signing_key()
    };
    let (after, ..) = settled(&rotation(), none, false, now);
    assert!(serving(&after).serves(&signing(&after), &rotation().hosts, now));
    assert_eq!(after.old, Some(signing(&held)));
}

#[test]
fn a_serving_certificate_of_somebody_else_is_replaced() {
    let stranger = begun();
    let held = Material {
        serving: stranger.serving.clone(),
        ..begun()
    };
    let (after, writes, _) = settled(&rotation(), held.clone(), true, START + 1);
    assert_eq!((writes, signing(&after)), (1, signing(&held)));
    assert!(serving(&after).serves(&signing(&after), &rotation().hosts, START + 1));
}

/// A replica or an API server that sees every change some time after it was made.
struct Late {
    by: i64,
    seen: Vec<(i64, Material)>,
}

impl Late {
    fn now(&self, now: i64) -> Option<&Material> {
        let seen = self.seen.iter().rev().find(|(at, _)| at + self.by <= now);
        seen.map(|(_, material)| material)
    }
}

/// Years, in steps of a few hours: whatever certificate a replica serves, every API server has a CA that
/// it trusts for it, though both hear of changes as late as the overlap allows.
#[test]
fn no_api_server_ever_meets_a_certificate_that_it_does_not_trust() {
    for (certificate, authority) in [(30 * DAY, 365 * DAY), (30 * DAY, 120 * DAY), (120, 480)] {
        let rotation = Rotation {
            certificate: Duration::from_secs(certificate.unsigned_abs()),
            authority: Duration::from_secs(authority.unsigned_abs()),
            ..rotation()
        };
        let tick = certificate / 60;
        let lates = [0, certificate / 10 - tick];
        let mut watchers = lates.map(|by| Late {
            by,
            seen: Vec::new(),
        });
        let mut held = Material::default();
        let (mut authorities, mut wake, mut before) = (Vec::new(), START, false);
        let end = START + 3 * authority.min(365 * DAY);
        let mut now = START;
        while now < end {
            // The slowest caBundle counts.
            let announced = watchers.last().and_then(|late| late.now(now));
            let announced = announced.is_none_or(|seen| seen.bundle() == held.bundle());
            if now >= wake || announced != before {
                let (after, writes, until) = settled(&rotation, held, announced, now);
                (held, wake, before) = (after, until, announced);
                if writes > 0 {
                    for late in &mut watchers {
                        late.seen.push((now, held.clone()));
                    }
                    if authorities.last() != Some(&signing(&held)) {
                        authorities.push(signing(&held));
                    }
                }
            }
            for (replica, api_server) in watchers
                .iter()
                .flat_map(|one| watchers.iter().map(move |other| (one, other)))
            {
                let (Some(served), Some(known)) = (replica.now(now), api_server.now(now)) else {
                    continue;
                };
                let served = serving(served);
                let trusted = known
                    .trusted()
                    .any(|ca| served.serves(ca, &rotation.hosts, now));
                let (at, replica, api_server) = (now - START, replica.by, api_server.by);
                assert!(
                    trusted,
                    "at {at}, replica {replica} and API server {api_server} late"
                );
            }
            now += tick;
        }
        assert!(authorities.len() >= 4, "{} CAs", authorities.len());
    }
}
