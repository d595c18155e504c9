export { notifyWebhooks } from './notify.ts'
export { hasSubscribers } from './subscriptions.ts'
export { createWebhook, deleteWebhook, listWebhooks, rotateSecret, updateWebhook } from './webhooks.ts'
