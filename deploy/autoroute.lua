-- Sends every study to the node once it is stable, and never sends the node's own results back to it.
--
-- A result carries our Manufacturer (0008,0070), and comes by REST (no sender is recorded) or by C-STORE (the sender is
-- the node): either sign is enough. A study is sent again only when it holds another number of foreign instances than
-- were delivered last time, so results that make it stable anew trigger nothing. What was delivered is remembered in
-- the study's metadata "RoutedInstances", which orthanc.json declares under UserMetadata.
-- When the node cannot be reached the job fails and stays in Orthanc: POST /jobs/<id>/resubmit sends it again.

local NODE = 'METSEG'                        -- its name under DicomModalities, and its AE title
local MANUFACTURER = 'brainmets-dicom-node'  -- of every object that the node makes
local MEMORY = 'RoutedInstances'

local function get(path)
   return ParseJson(RestApiGet(path, false))
end

local function is_result(series)
   if series['MainDicomTags']['Manufacturer'] == MANUFACTURER then
      return true
   end
   return get('/series/' .. series['ID'] .. '/metadata?expand')['RemoteAET'] == NODE
end

-- Orthanc's identifiers of the series that came from elsewhere, and how many instances they have together.
local function foreign_series(studyId)
   local identifiers, instances = {}, 0
   for _, series in ipairs(get('/studies/' .. studyId .. '/series')) do
      if not is_result(series) then
         table.insert(identifiers, series['ID'])
         instances = instances + #series['Instances']
      end
   end
   return identifiers, instances
end

local function is_delivery(job)
   return job['Type'] == 'DicomModalityStore' and job['Content']['RemoteAet'] == NODE
end

function OnStableStudy(studyId, tags, metadata)
   local identifiers, instances = foreign_series(studyId)
   if instances == 0 or tonumber(metadata[MEMORY]) == instances then
      return
   end
   local order = { Resources = identifiers, Synchronous = false }
   RestApiPost('/modalities/' .. NODE .. '/store', DumpJson(order, true), false)
end

function OnJobSuccess(jobId)
   local job = get('/jobs/' .. jobId)
   if not is_delivery(job) then
      return
   end
   -- The number that was sent, not the number that is there by now: instances that came since are still to be sent.
   local studyId = get('/series/' .. job['Content']['ParentResources'][1])['ParentStudy']
   RestApiPut('/studies/' .. studyId .. '/metadata/' .. MEMORY, tostring(job['Content']['InstancesCount']), false)
end

function OnJobFailure(jobId)
   local job = get('/jobs/' .. jobId)
   if is_delivery(job) then
      PrintRecursive('A study could not be sent to ' .. NODE .. '. When the node is up again: POST /jobs/' .. jobId .. '/resubmit')
   end
end
