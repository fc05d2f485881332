//! Secrets as the API shows them, and its wishes as acts on them.

use lodge_api::{SecretValue, SecretView};
use lodge_model::secret::Secret;
use uuid::Uuid;

use crate::{
    Caller, Engine,
    error::Result,
    secret::{SecretError, SecretEvent, SecretHappening, base64},
};

impl Engine {
    /// Every secret, by UUID.
    pub fn secret_views(&self, caller: &Caller) -> Vec<SecretView> {
        self.secrets(caller).list().iter().map(|secret| view_of(secret)).collect()
    }

    /// One secret.
    pub fn secret_view(&self, caller: &Caller, secret: &str) -> Result<SecretView> {
        let found = self.secrets(caller).by_uuid(uuid_of(secret)?)?;
        Ok(view_of(&found))
    }

    /// libvirt's document of a secret.
    pub fn secret_xml(&self, caller: &Caller, secret: &str) -> Result<String> {
        Ok(self.secrets(caller).by_uuid(uuid_of(secret)?)?.to_xml())
    }

    /// Takes in a secret's document.
    #[crate::boxed]
    pub async fn take_secret(&self, caller: &Caller, xml: String) -> Result<SecretView> {
        self.define_secret(caller, xml).await.map(|secret| view_of(&secret))
    }

    /// Gives a secret its value.
    #[crate::boxed]
    pub async fn give_secret(&self, caller: &Caller, secret: &str, value: &SecretValue) -> Result<()> {
        let bytes = base64::decode(value.base64.as_bytes()).ok_or(SecretError::NotBase64)?;
        self.set_secret_value(caller, uuid_of(secret)?, bytes).await
    }

    /// A secret's value, for those who may change things.
    #[crate::boxed]
    pub async fn tell_secret(&self, caller: &Caller, secret: &str) -> Result<SecretValue> {
        let value = self.secret_value(caller, uuid_of(secret)?).await?;
        Ok(SecretValue { base64: base64::encode(&value) })
    }

    /// Forgets a secret.
    #[crate::boxed]
    pub async fn forget_secret(&self, caller: &Caller, secret: &str) -> Result<()> {
        self.undefine_secret(caller, uuid_of(secret)?).await
    }

    /// Publishes what happens to secrets.
    pub(crate) fn tell_of_secrets(&self) {
        use tokio::sync::broadcast::error::RecvError;
        let (feed, mut events) = (self.feed.clone(), self.secret_events());
        self.spawn(async move {
            loop {
                match events.recv().await {
                    Ok(happening) => {
                        let (kind, subject) = told(&happening);
                        feed.publish(kind, subject, serde_json::Value::Null);
                    }
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "secret events missed"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
}

fn told((secret, event): &SecretHappening) -> (&'static str, String) {
    let kind = match event {
        SecretEvent::Defined => "secret.defined",
        SecretEvent::Undefined => "secret.undefined",
        SecretEvent::ValueChanged => "secret.value-changed",
    };
    (kind, secret.uuid.to_string())
}

fn uuid_of(secret: &str) -> std::result::Result<Uuid, SecretError> {
    Uuid::parse_str(secret)
        .map_err(|_| SecretError::NotFound(format!("no secret with matching uuid '{secret}'")))
}

fn view_of(secret: &Secret) -> SecretView {
    let usage = secret.usage.as_ref();
    SecretView {
        uuid: secret.uuid,
        usage_type: usage.map(|usage| usage.kind.as_str().to_owned()),
        usage: usage.map(|usage| usage.id.clone()),
        description: secret.description.clone(),
        ephemeral: secret.ephemeral,
        private: secret.private,
    }
}
