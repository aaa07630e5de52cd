use std::net::IpAddr;

use craton_identity::policy::Network;

/// The networks that clients may come from; everybody's where none is named.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(Vec<Network>);

impl Networks {
    /// `10.0.0.0/8, 2001:db8::/32`; `Err` with the part that is neither an address nor a range.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts
            .map(|part| Network::parse(part).ok_or_else(|| part.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn admit(&self, peer: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|network| network.contains(peer))
    }
}
