//! The options of `testbed gateway` for STS.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Args;

use super::{StsOptions, roles::Role};
use crate::{control_plane, gateway::access_key::AccessKey};

/// Options of `testbed gateway` for STS.
#[derive(Args, Debug)]
pub struct StsArgs {
    /// Be STS, and the metadata service of an instance, too. All temporary keys live this long, in seconds, whatever is
    /// asked for.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=43_200))]
    sts_ttl: Option<u64>,
    /// With --sts-ttl: the roles that can be assumed, as a JSON file. Unset means roles of which one trusts the access
    /// keys, one asks for an external ID, and one trusts nobody.
    #[arg(long, value_name = "FILE", requires = "sts_ttl")]
    sts_roles: Option<PathBuf>,
    /// With --sts-ttl: take tokens of this API server's service accounts, too.
    #[arg(long, value_name = "KUBECONFIG", requires = "sts_ttl")]
    oidc_kubeconfig: Option<PathBuf>,
    /// The issuer of these tokens.
    #[arg(long, value_name = "URL", default_value = control_plane::ISSUER, requires = "oidc_kubeconfig")]
    oidc_issuer: String,
}

impl StsArgs {
    /// What they say about STS, if there is to be one. The roles trust these keys.
    pub fn options(self, keys: &[AccessKey]) -> Result<Option<StsOptions>> {
        let Some(seconds) = self.sts_ttl else { return Ok(None) };
        let key_ids: Vec<_> = keys.iter().map(|key| key.id.as_str()).collect();
        let mut options = StsOptions::standard(&key_ids).living(Duration::from_secs(seconds));
        if let Some(file) = self.sts_roles {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            options.roles = serde_json::from_str::<Vec<Role>>(&text)
                .with_context(|| format!("{} is no list of roles", file.display()))?;
        }
        Ok(Some(match self.oidc_kubeconfig {
            Some(kubeconfig) => options.with_tokens_of(&self.oidc_issuer, &kubeconfig),
            None => options,
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{gateway::sts::roles::RoleArn, scratch};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        sts: StsArgs,
    }

    fn options(arguments: &[&str]) -> Result<Option<StsOptions>> {
        let keys = [AccessKey { id: "key".into(), secret: "secret".into(), token: None }];
        Cli::try_parse_from([&["gateway"], arguments].concat())?.sts.options(&keys)
    }

    #[test]
    fn there_is_no_sts_unless_its_keys_have_a_lifetime() {
        assert!(options(&[]).unwrap().is_none());
        for alone in [["--sts-roles", "a"], ["--oidc-kubeconfig", "a"], ["--oidc-issuer", "a"], ["--sts-ttl", "0"]] {
            assert!(options(&alone).is_err(), "{alone:?}");
        }
    }

    #[test]
    fn the_roles_trust_the_keys_unless_a_file_says_otherwise() {
        let standard = options(&["--sts-ttl", "60", "--oidc-kubeconfig", "k"]).unwrap().unwrap();
        assert_eq!(standard.lifetime, Some(Duration::from_mins(1)));
        let trusted = Role::new(RoleArn::new("1", "a")).trusting("key").trust;
        assert_eq!(standard.roles[0].trust[..1], trusted);
        let provider = &standard.providers[0];
        assert_eq!((provider.issuer.as_str(), provider.kubeconfig.as_path()), (control_plane::ISSUER, "k".as_ref()));

        let directory = scratch::directory().unwrap();
        let file = directory.path().join("roles.json");
        fs::write(&file, r#"[{"arn": "acs:ram::1:role/a"}]"#).unwrap();
        let chosen = options(&["--sts-ttl", "60", "--sts-roles", file.to_str().unwrap()]).unwrap().unwrap();
        assert_eq!(chosen.roles, [Role::new(RoleArn::new("1", "a"))]);
        fs::write(&file, "{}").unwrap();
        assert!(options(&["--sts-ttl", "60", "--sts-roles", file.to_str().unwrap()]).is_err());
    }
}
