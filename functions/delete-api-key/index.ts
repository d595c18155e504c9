import { deleteApiKey } from '#access'
import { httpFunction, noContent } from '#function'

export default httpFunction({
  name: 'delete-api-key',
  route: 'DELETE /v1/api-keys/{apiKeyId}',
  params: { apiKeyId: 'API key' },
  tag: 'api-keys',
  scope: 'admin',
  summary: 'Revoke an API key.',
  responses: { 204: null, 404: ['api_key_not_found'], 409: ['last_admin_key'] },
  handler: async ({ params, context }) => {
    await deleteApiKey(params.apiKeyId, context)
    return noContent()
  },
})
