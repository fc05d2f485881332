//! Jobs: acts that last.

use std::time::Duration;

use axum::Json;
use http::StatusCode;
use lodge_api::{Job, JobWait, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::limits::JOB_WAIT_MAX;
use crate::refusal::Refusal;
use crate::request::{Answer, Front, House, Number, Query, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new().routes(routes!(list_jobs)).routes(routes!(job, cancel_job))
}

/// The answer to a request that began a job.
pub(crate) fn begun(job: Job) -> (StatusCode, Json<Job>) {
    (StatusCode::ACCEPTED, Json(job))
}

/// List jobs.
#[utoipa::path(get, path = route::JOBS, tag = "jobs",
    responses((status = 200, description = "Those that go on and the last that ended, the newest first", body = [Job]), Refusal))]
async fn list_jobs(front: Front) -> Answer<Vec<Job>> {
    Ok(Json(front.engine.jobs(&front.caller).await?))
}

/// Look at one job, or wait for its end.
#[utoipa::path(get, path = route::JOB, tag = "jobs",
    params(("job" = u64, Path, description = "The job's number"), JobWait),
    responses((status = 200, description = "The job as it stands now", body = Job), Refusal))]
async fn job(front: Front, Number(id): Number, Query(query): Query<JobWait>) -> Answer<Job> {
    let wait = query.wait_s.map(|seconds| Duration::from_secs(seconds).min(JOB_WAIT_MAX));
    front.wait(front.engine.job(&front.caller, id, wait)).await.map(Json)
}

/// Ask a job to stop.
///
/// Answers when it was asked; what it had begun it takes back.
#[utoipa::path(delete, path = route::JOB, tag = "jobs",
    params(("job" = u64, Path, description = "The job's number")),
    responses((status = 200, description = "The job as it stands now", body = Job), Refusal))]
async fn cancel_job(front: Front, Number(id): Number) -> Answer<Job> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.cancel_job(&caller, id).await }).await.map(Json)
}
