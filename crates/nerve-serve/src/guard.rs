//! Who may ask: names of the server, pages of other sites, the token.

use crate::refusal::Refusal;
use crate::server::Shared;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Refuses what a page from elsewhere makes a browser ask by a name that leads here.
pub(crate) fn by_its_name(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let Shared { options, .. } = shared;
    let local = matches!(name, "127.0.0.1" | "localhost" | "[::1]");
    let any = !options.address.ip().is_loopback() && options.hosts.is_empty();
    if !(local || any || options.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        return Err(Refusal::new(421, "this server does not answer to that name"));
    }
    Ok(())
}

/// Refuses what a page from elsewhere makes a browser ask across sites.
pub(crate) fn from_here(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let elsewhere =
        || Err(Refusal::new(403, "requests from pages of other sites are not answered"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some("cross-site" | "same-site"), _) => elsewhere(),
        (_, Some(origin)) if origin.split_once("://").map(|(_, from)| from) != text("host") => {
            elsewhere()
        }
        _ => Ok(()),
    }
}

pub(crate) fn authorized(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = &shared.options.token else { return Ok(()) };
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let given =
        given.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    match given {
        Some((_, given)) if token.is(given) => Ok(()),
        _ => Err(Refusal::new(401, "a token is needed: Authorization: Bearer TOKEN")),
    }
}
