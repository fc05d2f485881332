//! Calls about secrets. `secret` is a secret's UUID.

use lodge_api::{SecretValue, SecretView, route};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// All secrets.
    pub async fn secrets(&self) -> Answer<Vec<SecretView>> {
        self.json(Call::get(route::SECRETS)).await
    }

    /// Takes in a document.
    pub async fn define_secret(&self, xml: &str) -> Answer<SecretView> {
        self.json(Call::post(route::SECRETS).xml(xml)).await
    }

    /// One secret.
    pub async fn secret(&self, secret: &str) -> Answer<SecretView> {
        self.json(Call::get(route::of(route::SECRET, secret))).await
    }

    /// Forgets a secret and its value.
    pub async fn undefine_secret(&self, secret: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::SECRET, secret))).await
    }

    /// A secret's document.
    pub async fn secret_xml(&self, secret: &str) -> Answer<String> {
        self.text(Call::get(route::of(route::SECRET_XML, secret))).await
    }

    /// A secret's value.
    pub async fn secret_value(&self, secret: &str) -> Answer<SecretValue> {
        self.json(Call::get(route::of(route::SECRET_VALUE, secret))).await
    }

    /// Gives a secret its value.
    pub async fn set_secret_value(&self, secret: &str, value: &SecretValue) -> Answer<()> {
        self.nothing(Call::put(route::of(route::SECRET_VALUE, secret)).json(value)).await
    }
}
