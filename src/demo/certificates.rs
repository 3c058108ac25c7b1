//! A certificate authority for this run, and the gateway's certificate.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::time::{Duration, SystemTime};

/// How long they are good: longer than a demo runs, and short enough to be read.
const LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// For clocks of clients that are late.
const EARLIER: Duration = Duration::from_secs(86_400);

/// All in PEM. The authority's own key is forgotten, so that it signs nothing else.
pub(super) struct Certificates {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// Fresh ones, for `localhost` and the loopback addresses.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn make() -> Result<Certificates, Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "ringward demo authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut authority);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut server = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(String::from).to_vec())?;
    server.distinguished_name.push(DnType::CommonName, "ringward demo");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    limit(&mut server);
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?.pem();
    Ok(Certificates { authority: authority.pem(), certificate, key: key.serialize_pem() })
}

fn limit(params: &mut CertificateParams) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + since;
    (params.not_before, params.not_after) = (now - EARLIER, now + LIFETIME);
}
