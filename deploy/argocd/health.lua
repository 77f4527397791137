-- Argo CD's health of a SessionKill and of a connection of either kind; argocd-cm.yaml installs it.
-- Argo CD knows no conditions of custom resources: without this it calls each of them healthy as soon as it exists.
local health = {status = "Progressing", message = "not yet seen by the operator"}
-- The status of a fresh or an edited object speaks of another generation, or of none.
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled = conditions.Ready, conditions.Stalled
if ready == nil then
  return health
end

health.message = ready.message
if stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
  health.message = stalled.message
elseif ready.status == "True" then
  health.status = "Healthy"
elseif ready.reason == "Suspended" then
  health.status = "Suspended"
end
-- Else it is worked on, or waits for what may come by itself, such as a Secret: Progressing, as kstatus says.
return health
