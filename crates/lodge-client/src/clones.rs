//! Clones, templates and identities.

use lodge_api::{CloneSpec, IdentityAct, IdentityLogQuery, Job, TemplateSpec, TemplateView, route};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// Makes clones; the job's result is a `CloneReport`.
    pub async fn clone_guest(&self, spec: &CloneSpec) -> Answer<Job> {
        self.json(Call::post(route::CLONES).json(spec)).await
    }

    /// All versions of all templates.
    pub async fn templates(&self) -> Answer<Vec<TemplateView>> {
        self.json(Call::get(route::TEMPLATES)).await
    }

    /// One version of a template.
    pub async fn template(&self, template: &str) -> Answer<TemplateView> {
        self.json(Call::get(route::of(route::TEMPLATE, template))).await
    }

    /// Makes a template; the job's result is a `TemplateView`.
    pub async fn create_template(&self, spec: &TemplateSpec) -> Answer<Job> {
        self.json(Call::post(route::TEMPLATES).json(spec)).await
    }

    /// Removes a version of a template.
    pub async fn remove_template(&self, template: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::TEMPLATE, template))).await
    }

    /// What became of identities.
    pub async fn identity_log(&self, query: &IdentityLogQuery) -> Answer<Vec<IdentityAct>> {
        self.json(Call::get(route::IDENTITY_LOG).query(query)).await
    }
}
