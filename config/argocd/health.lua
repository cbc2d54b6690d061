-- Argo CD's health of a StreamingRollout and of a NodeStreaming, by their conditions.
local health = {status = "Progressing", message = "waiting for the controller"}
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
health.message = status.message or ""
local is = {}
for _, condition in ipairs(status.conditions or {}) do
  is[condition.type] = condition.status == "True"
  if condition.type == "Stalled" and condition.status == "True" then
    health.message = condition.message
  end
end
-- What waits for somebody or for a time is no progress that a sync should wait for.
local waits = status.phase == "WaitingForApproval" or status.phase == "WaitingForWindow"
if is.Stalled then
  health.status = "Degraded"
elseif is.Paused or waits then
  health.status = "Suspended"
elseif is.Ready then
  health.status = "Healthy"
end
return health
